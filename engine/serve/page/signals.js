// Microstructure signals, and how good their stated confidence has been.

import { clock, count, element, number, table, write } from "./format.js";
import { logs, value } from "./link.js";

// Who states what a signal acts on, with the version where it is a model.
const by = (one) => {
  const said = one.rating?.[one.confidence_source];
  return said ? `${one.rating.model} ${said.version}${one.confidence_source === "challenger" ? ", on trial" : ""}` : one.confidence_source;
};

// A model beside the formula, and how it is trained, in a sentence.
function learnt(learning) {
  if (!learning) return "";
  const force = learning.in_force ? `${learning.model} ${learning.in_force} is in force` : "no version is in force";
  const trial = learning.trial ? ` Version ${learning.trial.challenger} is on trial: log loss better by ${number(learning.trial.gain, 3)} after ${count(learning.trial.outcomes)} outcomes.` : "";
  const back = learning.fallbacks ? ` ${count(learning.fallbacks)} signals fell back on the formula (${learning.fallback}).` : "";
  const trainer = learning.trainer ? ` Trainer: ${learning.trainer}.` : "";
  return `Model: ${force}; promoted ${count(learning.promoted)}, lost on trial ${count(learning.refused)}, no better when trained ${count(learning.declined)}.${trial}${back}${trainer}`;
}

const share = (part, of) => (of ? `${number((part / of) * 100, 3)} %` : "–");

export function signals(host) {
  const newest = table("Signals, newest first", ["Time", "Coin", "Action", "Window", "Ratio", "Confidence", "Stated by", "Leverage", "Bound by", "May be traded"]);
  const verdict = element("p", { class: "age" });
  const bins = table("Stated confidence beside what was observed", ["Stated by", "Confidence", "Cases", "Stated", "Observed", "95 % interval"]);
  const profits = table("What they brought after costs, and what each side alone would have", ["Trades", "Cases", "Reached", "Mean, bp"]);
  const model = element("p", { class: "age" });
  const account = element("p", { class: "age" });
  const positions = table("Paper positions, open ones first", ["Coin", "Side", "Leverage", "Margin", "Confidence", "Entry value", "Until", "Ending", "Profit"]);
  host.append(newest.element, verdict, model, bins.element, profits.element, account, positions.element);
  let last = null;
  return () => {
    const entry = value("calibration");
    const report = entry?.data;
    const paper = value("paper");
    const mark = `${logs.psc.at(-1)?.number} ${logs.psc.at(-1)?.wall_ns} ${entry?.wall_ns} ${paper?.wall_ns}`;
    if (mark === last) return;
    last = mark;
    newest.fill(logs.psc.slice(-30).reverse().map(({ data: one }) => [
      clock(one.timestamp * 1e6), one.symbol, one.action, one.timer_window, number(one.psc_ratio, 4), number(one.confidence, 3), by(one),
      number(one.leverage, 4), one.leverage_bound, one.tradable ? "yes" : one.stopped ? "no: a breaker is open" : "no",
    ]), "no signal yet; ml_microstructure.enabled switches them on");
    const good = report?.calibration;
    const made = report?.reference_simulated ? " The reference price is made up." : "";
    write(verdict, good
      ? `Formula: stated ${number(good.stated, 3)}, observed ${number(good.base_rate, 3)} in ${count(good.count)} cases. Brier score ${number(good.brier, 3)}, of the base rate ${number(good.brier_base, 3)}; log loss ${number(good.log_loss, 3)} and ${number(good.log_loss_base, 3)}.${made}`
      : `No timer has ended yet: nothing is known of how good signals are.${made}`);
    write(model, learnt(report?.learning));
    const stated = [["formula", good], ...Object.entries(report?.models ?? {}).map(([name, one]) => [name, one.calibration])];
    bins.fill(stated.flatMap(([name, one]) => (one?.bins ?? []).map((bin) => [
      name, `${number(bin.from, 2)} to ${number(bin.to, 2)}`, count(bin.count), number(bin.stated, 3), number(bin.observed, 3),
      `${number(bin.low95, 3)} to ${number(bin.high95, 3)}`,
    ])), "no case yet");
    profits.fill(report ? [["as signalled", report.profit], ["always LONG", report.always_long], ["always SHORT", report.always_short]]
      .map(([name, one]) => [name, count(one.count), share(one.reached, one.count), number(one.mean_bp, 4)]) : [], "no case yet");
    const money = paper?.data;
    write(account, money
      ? `Paper account: ${number(money.balance, 8)} of ${number(money.balance_before, 8)} at first, ${number(money.locked, 6)} in margins; ${count(money.opened)} positions opened, ${count(money.closed)} closed; fees ${number(money.fees, 6)}.`
      : "");
    positions.fill([...(money?.open ?? []), ...(money?.ended ?? []).toReversed()].map((one, at) => [
      one.symbol, one.side, number(one.leverage, 4), one.margin, number(one.confidence, 3), one.entry_value ?? "–", clock(one.timer_end_ns),
      at < money.open.length ? "open" : one.ending, at < money.open.length ? "–" : one.profit,
    ]), "none; trading.enabled trades signals on paper");
  };
}
