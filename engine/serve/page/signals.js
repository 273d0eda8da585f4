// Microstructure signals, and how good their stated confidence has been.

import { clock, count, element, number, table, write } from "./format.js";
import { logs, value } from "./link.js";

const share = (part, of) => (of ? `${number((part / of) * 100, 3)} %` : "–");

export function signals(host) {
  const newest = table("Signals, newest first", ["Time", "Coin", "Action", "Window", "Ratio", "Confidence", "Leverage", "Bound by", "May be traded"]);
  const verdict = element("p", { class: "age" });
  const bins = table("Stated confidence beside what was observed", ["Confidence", "Cases", "Stated", "Observed", "95 % interval"]);
  const profits = table("What they brought after costs, and what each side alone would have", ["Trades", "Cases", "Reached", "Mean, bp"]);
  host.append(newest.element, verdict, bins.element, profits.element);
  let last = null;
  return () => {
    const entry = value("calibration");
    const report = entry?.data;
    const mark = `${logs.psc.at(-1)?.number} ${logs.psc.at(-1)?.wall_ns} ${entry?.event_ns}`;
    if (mark === last) return;
    last = mark;
    newest.fill(logs.psc.slice(-30).reverse().map(({ data: one }) => [
      clock(one.timestamp * 1e6), one.symbol, one.action, one.timer_window, number(one.psc_ratio, 4), number(one.confidence, 3),
      number(one.leverage, 4), one.leverage_bound, one.tradable ? "yes" : one.stopped ? "no: a breaker is open" : "no",
    ]), "no signal yet; ml_microstructure.enabled switches them on");
    const good = report?.calibration;
    const made = report?.reference_simulated ? " The reference price is made up." : "";
    write(verdict, good
      ? `Stated ${number(good.stated, 3)}, observed ${number(good.base_rate, 3)} in ${count(good.count)} cases. Brier score ${number(good.brier, 3)}, of the base rate ${number(good.brier_base, 3)}; log loss ${number(good.log_loss, 3)} and ${number(good.log_loss_base, 3)}.${made}`
      : `No timer has ended yet: nothing is known of how good signals are.${made}`);
    bins.fill((good?.bins ?? []).map((bin) => [
      `${number(bin.from, 2)} to ${number(bin.to, 2)}`, count(bin.count), number(bin.stated, 3), number(bin.observed, 3),
      `${number(bin.low95, 3)} to ${number(bin.high95, 3)}`,
    ]), "no case yet");
    profits.fill(report ? [["as signalled", report.profit], ["always LONG", report.always_long], ["always SHORT", report.always_short]]
      .map(([name, one]) => [name, count(one.count), share(one.reached, one.count), number(one.mean_bp, 4)]) : [], "no case yet");
  };
}
