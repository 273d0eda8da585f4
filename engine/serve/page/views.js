// The views. Each makes its elements once; `collect` takes news for charts, `render` writes texts, `draw` paints.

import { Lines, Percentiles } from "./charts.js";
import * as controls from "./controls.js";
import { age, badge, clock, count, duration, element, made, number, stamp, table, write } from "./format.js";
import { Heatmap } from "./heatmap.js";
import { ageOf, counts, keys, logs, value } from "./link.js";
import { signals } from "./signals.js";

const data = (topic, key) => value(topic, key)?.data;
const newestFirst = (name, most = 50) => logs[name].slice(-most).reverse();

function note(host) {
  const place = element("p", { class: "age" });
  host.append(place);
  return (entry, what = "data") => write(place, entry ? `${what}: ${age(ageOf(entry))} old, event time ${clock(entry.event_ns)}` : `${what}: none yet`);
}

// Says whether a log is another one than it was the last time: its table is made anew only then.
function grown(name) {
  let last = null;
  return () => {
    const [log, newest] = [logs[name], logs[name].at(-1)];
    const now = `${log.length} ${log[0]?.number} ${newest?.number} ${newest?.wall_ns}`;
    if (now === last) return false;
    last = now;
    return true;
  };
}

function button(text, label, action) {
  return element("button", { type: "button", "aria-label": label, onclick: action }, text);
}

// The same as a cell of a table; its label says all that it depends on.
function cell(text, label, action) {
  return made(`button ${label}`, () => button(text, label, action));
}

function panel(host, title, ...children) {
  const one = element("div", { class: "panel" }, element("h3", {}, title), ...children);
  host.append(one);
  return one;
}

function grid(host) {
  const one = element("div", { class: "grid" });
  host.append(one);
  return one;
}

function chart(host) {
  const one = element("div", { class: "chart" });
  host.append(one);
  return one;
}

// Thresholds in force: what models or conditions moved, else the profile's.
function thresholdOf(instrument, rule) {
  const breakers = data("breakers");
  const venue = instrument.slice(instrument.indexOf(".") + 1);
  const fixed = breakers?.rules?.[venue]?.find((one) => one.rule === rule);
  const own = data("features", instrument)?.rules.find((one) => one.rule === rule);
  return { fixed, threshold: own?.threshold ?? fixed?.threshold ?? null, own };
}

function trips(host) {
  const list = table("Trips and what followed, newest first", ["Time", "Of", "Rule", "From", "To", "Why", "Measured", "Threshold", ""]);
  host.append(list.element);
  const is = grown("breaker");
  const explain = ({ sequence, run }) => made(`explain ${sequence} of ${run}`, () => button("Explain", `Explain decision ${sequence}`, () => controls.explain(sequence, run)));
  return () => is() && list.fill(newestFirst("breaker", 100).map(({ data: one }) => [
    clock(one.event_ns), `${one.scope} ${one.name}`, one.rule, badge(one.from), badge(one.to), one.cause,
    number(one.value, 4), number(one.threshold, 4), one.to === "tripped" ? explain(one) : "",
  ]), "no breaker has changed its state");
}

// How much of its threshold a rule has used: one bar a rule, moved where it is.
function bars() {
  const all = new Map();
  return (rule, share) => {
    if (!all.has(rule)) all.set(rule, { bar: element("meter", { min: 0, max: 1, low: 0.7, high: 0.9, optimum: 0 }), percent: null });
    const one = all.get(rule);
    const percent = Math.round(100 * (share ?? 0));
    if (percent !== one.percent) {
      one.percent = percent;
      one.bar.value = Math.min(1, Math.max(0, share ?? 0));
      one.bar.ariaLabel = `${rule}: ${percent} % of its threshold`;
    }
    return made(`bar ${rule}`, () => one.bar);
  };
}

const overview = {
  name: "overview",
  title: "Overview",
  topics: ["features"],
  make(host) {
    const two = grid(host);
    const market = panel(two, "Market");
    const prices = table("Instruments", ["Instrument", "Flow", "Mid", "Spread, bp", "Book", "Breakers", "Age"]);
    market.append(prices.element);
    const open = panel(two, "What is stopped");
    const stopped = table("Breakers that are not closed", ["Of", "Rule", "State", "Measured", "Until"]);
    open.append(stopped.element);
    const fast = panel(two, "How fast");
    const stages = table("Latency by stage", ["Stage", "p50", "p99", "p99.9", "Largest", "Events"]);
    fast.append(stages.element);
    const price = panel(two, "Price");
    const lines = new Lines(chart(price), ["mid"], "Mid price of the instrument over event time", { height: 200 });
    const found = panel(two, "Findings");
    const findings = table("What is wrong, and what to do", ["What", "Why it matters", "Fix"]);
    found.append(findings.element);
    const events = panel(two, "Newest trips");
    const told = trips(events);
    const collect = (instrument) => {
      const entry = value("price", instrument);
      if (entry?.data.mid) lines.add(entry.event_ns / 1e9, [entry.data.mid]);
    };
    return {
      ages: true,
      collect,
      gather: collect,
      clear: () => lines.clear(),
      restyle: () => lines.build(),
      draw: () => lines.draw(),
      render() {
        prices.fill(keys("price").map((name) => {
          const entry = value("price", name);
          const one = entry.data;
          return [name, badge(one.flow), number(one.mid, 9), number(one.spread_bp, 3), badge(one.quality), badge(one.breaker), age(ageOf(entry))];
        }));
        stopped.fill((data("breakers")?.open ?? []).map((one) => [
          `${one.scope} ${one.name}`, one.rule, badge(one.to), `${number(one.value, 4)} / ${number(one.threshold, 4)}`,
          one.until_ns ? clock(one.until_ns) : "condition holds",
        ]), data("breakers") ? "nothing: trading is allowed" : "unknown: the engine has not said");
        stages.fill((data("latency")?.stages ?? []).filter((one) => !one.of_venue).map(({ stage, total }) => [
          stage, duration(total.p50), duration(total.p99), duration(total.p99_9), duration(total.max), count(total.count),
        ]));
        findings.fill((data("findings") ?? []).map((one) => [one.what, one.why, one.fix]), "nothing");
        told();
      },
    };
  },
};

const breakers = {
  name: "breakers",
  title: "Breakers",
  topics: ["features"],
  make(host) {
    const tools = element("p", { class: "actions" });
    host.append(tools);
    const aged = note(host);
    let scope = "engine";
    const scopes = element("select", { onchange: () => { scope = scopes.value; } });
    tools.append(
      element("label", {}, "Scope ", scopes),
      button("Trip", "Trip the breaker of the scope", () => controls.trip(scope)),
      button("Reset", "Reset the breakers of the scope", () => controls.reset(scope)),
    );
    const rules = table("Rules of the instrument: what is measured against what trips", ["Rule", "Measured", "Threshold", "Share", "Unit", "State", "Protects from"]);
    panel(host, "Rules").append(rules.element);
    const charted = panel(host, "Threshold over time");
    let rule = "volatility";
    const picker = element("select", { onchange: () => { rule = picker.value; lines.clear(); } });
    charted.append(element("label", {}, "Rule ", picker));
    const lines = new Lines(chart(charted), ["measured", "threshold"], "Measured value and threshold of the rule over event time");
    const told = trips(panel(host, "Trips"));
    const bar = bars();
    const moved = grown("threshold");
    let named = "";
    const adjusted = table("Changes of thresholds, newest first", ["Time", "Instrument", "Origin", "Model", "Volatility", "Spread", "Imbalance", "Latency, µs", "Recovery", "Held back by"]);
    panel(host, "Thresholds").append(adjusted.element);
    const collect = (instrument) => {
      const entry = value("features", instrument);
      if (!entry) return;
      const { threshold, own } = thresholdOf(instrument, rule);
      lines.add(entry.event_ns / 1e9, [own?.value ?? null, threshold]);
    };
    return {
      ages: true,
      collect,
      clear: () => lines.clear(),
      restyle: () => lines.build(),
      draw: () => lines.draw(),
      render(instrument) {
        aged(value("features", instrument), "measured");
        const [instruments, strategies] = [data("engine")?.instruments ?? [], data("engine")?.strategies ?? []];
        const names = ["engine", ...new Set(instruments.map((name) => `venue:${name.slice(name.indexOf(".") + 1)}`)),
          ...instruments.map((name) => `instrument:${name}`), ...strategies.map((name) => `strategy:${name}`)];
        if (names.join() !== named) {
          named = names.join();
          scopes.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
          scope = names.includes(scope) ? scope : "engine";
          scopes.value = scope;
        }
        const all = data("features", instrument)?.rules ?? [];
        if (all.length && picker.options.length !== all.length) {
          picker.replaceChildren(...all.map((one) => element("option", { value: one.rule }, one.rule)));
          picker.value = rule;
        }
        const open = (data("breakers")?.open ?? []).filter((one) => one.name === instrument);
        rules.fill(all.map((one) => {
          const { fixed, threshold } = thresholdOf(instrument, one.rule);
          const share = one.value === null || !threshold ? null : one.above ? one.value / threshold : threshold / Math.max(one.value, 1e-12);
          const state = open.find((other) => other.rule === one.rule)?.to ?? (fixed?.enabled === false ? "off" : "closed");
          return [one.rule, number(one.value, 4), number(threshold, 4), bar(one.rule, share), fixed?.unit ?? "", badge(state), fixed?.about ?? ""];
        }), "no vector of this instrument yet");
        told();
        if (moved()) adjusted.fill(newestFirst("threshold", 60).map(({ data: one }) => [
          clock(one.event_ns), one.instrument, one.origin, one.advice ? `${one.advice.model} ${one.advice.version}` : "–",
          number(one.after.volatility, 4), number(one.after.spread, 4), number(one.after.imbalance, 4), number(one.after.latency, 4),
          number(one.after.recovery, 4), (one.clamps ?? []).join(", ") || "–",
        ]), "thresholds are those of the profile");
      },
    };
  },
};

const book = {
  name: "book",
  title: "Book",
  topics: ["book"],
  make(host) {
    const told = note(host);
    const wide = element("div", { class: "bookgrid" });
    host.append(wide);
    const picture = panel(wide, "Depth over time");
    const canvas = element("canvas", { class: "heat", role: "img", "aria-label": "Quantity by price over the last moments; brighter is more" });
    const legend = element("p", { class: "legend" });
    picture.append(canvas, legend);
    const heat = new Heatmap(canvas);
    const ladder = table("Ladder: best twenty levels a side", ["Bid quantity", "Price", "Ask quantity"]);
    panel(wide, "Ladder").append(ladder.element);
    const tape = table("Tape", ["Trades", "Bought", "Sold", "Largest", "High", "Low", "Last"]);
    panel(host, "Trades since the look before").append(tape.element);
    const depth = table("Depth over time as a table: newest looks first", ["Time", "Best bid", "Best ask", "Bids, 20 levels", "Asks, 20 levels"]);
    const asTable = element("details", {}, element("summary", {}, "Depth as a table"), depth.element);
    host.append(asTable);
    const looks = [];
    const sum = (levels) => levels.slice(0, 20).reduce((all, [, quantity]) => all + quantity, 0);
    return {
      ages: true,
      collect(instrument) {
        const entry = value("book", instrument);
        if (!entry) return;
        heat.add(entry);
        if (looks[0] !== entry) looks.unshift(entry);
        looks.length = Math.min(looks.length, 20);
      },
      clear() {
        heat.reset();
        looks.length = 0;
      },
      draw: () => heat.draw(),
      render(instrument) {
        const entry = value("book", instrument);
        told(entry, "book");
        const one = entry?.data;
        write(legend, `Brightness is the logarithm of quantity, up to ${number(heat.largest, 4)}. Green is the best bid, red the best ask. White discs are bought, pink squares sold.`);
        if (!one) return;
        if (one.quality !== "good") {
          ladder.fill([], `the book is ${one.quality}: not shown, because it is not known to be right`);
        } else {
          const asks = one.asks.slice(0, 20).reverse().map(([price, quantity]) => ["", number(price, 10), number(quantity, 6)]);
          const bids = one.bids.slice(0, 20).map(([price, quantity]) => [number(quantity, 6), number(price, 10), ""]);
          ladder.fill([...asks, ...bids]);
        }
        const traded = one.tape;
        tape.fill(traded ? [[count(traded.trades), number(traded.bought), number(traded.sold), number(traded.largest), number(traded.high, 9), number(traded.low, 9), number(traded.last, 9)]] : [], "no trade in this look");
        if (asTable.open) {
          depth.fill(looks.map(({ event_ns, data: look }) => [clock(event_ns), number(look.bids[0]?.[0], 10), number(look.asks[0]?.[0], 10), number(sum(look.bids)), number(sum(look.asks))]));
        }
      },
    };
  },
};

const features = {
  name: "features",
  title: "Features",
  topics: ["features"],
  make(host) {
    const told = note(host);
    let chosen = "imbalance_10";
    const charted = panel(host, "Over time");
    const picker = element("select", { onchange: () => { chosen = picker.value; lines.clear(); } });
    charted.append(element("label", {}, "Feature ", picker));
    const lines = new Lines(chart(charted), ["value"], "The chosen feature over event time", { height: 180 });
    const all = table("Newest vector", ["Feature", "Value", "Feature", "Value", "Feature", "Value", "Feature", "Value"]);
    panel(host, "All").append(all.element);
    const traps = table("Traps: newest signal of each instrument", ["Instrument", "Pattern", "Probability", "Intensity", "Evidence", "Age"]);
    panel(host, "Traps").append(traps.element);
    const predicted = table("What models predict", ["Model and instrument", "Version", "Outputs", "Age"]);
    panel(host, "Predictions").append(predicted.element);
    const signalled = signals(panel(host, "Signals"));
    return {
      ages: true,
      collect(instrument) {
        const entry = value("features", instrument);
        if (entry) lines.add(entry.event_ns / 1e9, [entry.data.values[chosen]]);
      },
      clear: () => lines.clear(),
      restyle: () => lines.build(),
      draw: () => lines.draw(),
      render(instrument) {
        const entry = value("features", instrument);
        told(entry, "vector");
        const names = Object.keys(entry?.data.values ?? {}).sort();
        if (names.length && picker.options.length !== names.length) {
          picker.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
          picker.value = chosen;
        }
        const rows = [];
        const deep = Math.ceil(names.length / 4);
        for (let row = 0; row < deep; row += 1) {
          rows.push([0, 1, 2, 3].flatMap((column) => {
            const name = names[column * deep + row];
            return name ? [name, number(entry.data.values[name], 5)] : ["", ""];
          }));
        }
        all.fill(rows);
        traps.fill(keys("trap").map((name) => {
          const one = value("trap", name);
          const evidence = Object.entries(one.data.evidence ?? {}).map(([key, strength]) => `${key} ${number(strength, 3)}`).join(", ");
          return [name, one.data.pattern, number(one.data.probability, 3), number(one.data.intensity, 3), evidence || "–", age(ageOf(one))];
        }), "no detector runs");
        predicted.fill(keys("signal").map((name) => {
          const one = value("signal", name);
          return [name, String(one.data.version), one.data.values.map((output) => number(output, 4)).join("  "), age(ageOf(one))];
        }), "no model predicts");
        signalled();
      },
    };
  },
};

const latency = {
  name: "latency",
  title: "Latency",
  make(host) {
    const told = note(host);
    const picture = panel(host, "By percentile, the whole run");
    const plot = new Percentiles(chart(picture), "Latency by percentile, with the budget of 5 ms", 5000);
    const all = table("Stages", ["Stage", "p50", "p90", "p99", "p99.9", "p99.99", "Largest", "Mean", "Count", "p99 of the last second"]);
    panel(host, "Stages").append(all.element);
    host.append(element("p", { class: "age" }, "A percentile is left out where fewer than ten samples lie beyond it. Adjustments have a budget of 5 ms at every percentile."));
    return {
      ages: true,
      restyle: () => plot.build(),
      draw: () => plot.draw(),
      collect() {
        const stages = data("latency")?.stages ?? [];
        const of = (name) => stages.find((one) => one.stage === name)?.plot;
        plot.set(of("total"), of("adjust_total"));
      },
      render() {
        told(value("latency"), "histograms");
        all.fill((data("latency")?.stages ?? []).map(({ stage, total, interval }) => [
          stage, duration(total.p50), duration(total.p90), duration(total.p99), duration(total.p99_9), duration(total.p99_99),
          duration(total.max), duration(total.mean), count(total.count), duration(interval?.p99),
        ]));
      },
    };
  },
};

const LEVELS = ["volatility", "spread", "imbalance", "latency", "recovery"];

const models = {
  name: "models",
  title: "Models",
  make(host) {
    const told = note(host);
    const loaded = table("Loaded versions", ["Model", "Version", "State", "Runs", "Golden difference", "p50", "p99", "SHA-256", ""]);
    panel(host, "Loaded").append(loaded.element);
    const history = panel(host, "Parameter history: what the tuner set");
    let level = "volatility";
    const picker = element("select", { onchange: () => { level = picker.value; shown = 0; lines.clear(); } }, ...LEVELS.map((name) => element("option", { value: name }, name)));
    history.append(element("label", {}, "Level ", picker));
    const lines = new Lines(chart(history), ["in force", "advised"], "Level in force and as advised over event time", { height: 200 });
    let shown = 0;
    const curves = panel(host, "Training");
    let curveOf = null;
    let drawn = null;
    const curvePicker = element("select", { onchange: () => { curveOf = curvePicker.value; } });
    curves.append(element("label", {}, "Curve ", curvePicker));
    const curve = new Lines(chart(curves), ["training loss", "validation loss"], "Loss by epoch, or by trees", { height: 200, time: false, x: "epoch or trees" });
    const curveNote = element("p", { class: "age" });
    curves.append(curveNote);
    const trained = table("What the repository says of its models", ["Model", "Version", "Kind", "Made", "Trained on", "Metrics"]);
    curves.append(trained.element);
    const events = table("What happened to models, newest first", ["Time", "What", "Model", "Detail"]);
    panel(host, "History").append(events.element);
    const happened = grown("model");
    // A model has a curve, or one a horizon; all of them can be chosen, the newest repository's only.
    const learn = (repository) => {
      if (drawn && repository === drawn.repository && curveOf === drawn.name) return;
      const contracts = repository?.contracts ?? [];
      const all = new Map(contracts.flatMap((one) => (one.curves ?? []).map((found) => [`${one.name} ${one.version}: ${found.name}`, { loss: one.loss, points: found.points }])));
      if (repository !== drawn?.repository) {
        curvePicker.replaceChildren(...[...all.keys()].map((name) => element("option", { value: name }, name)));
        curvePicker.disabled = all.size === 0;
      }
      if (!all.has(curveOf)) curveOf = all.keys().next().value ?? null;
      curvePicker.value = curveOf ?? "";
      const found = all.get(curveOf);
      curve.clear();
      found?.points.forEach((one) => curve.add(one.epoch, [one.loss, one.validation]));
      const wrong = contracts.filter((one) => one.curves_problem).map((one) => `${one.name} ${one.version}: ${one.curves_problem}`);
      const none = "No version in the repository says how it was trained.";
      write(curveNote, [found ? `${found.loss} of ${curveOf}` : none, ...wrong].join(". "));
      drawn = { repository, name: curveOf };
    };
    return {
      clear: () => { shown = 0; lines.clear(); },
      restyle: () => { lines.build(); curve.build(); },
      draw: () => { lines.draw(); curve.draw(); },
      collect(instrument) {
        for (const entry of logs.threshold) {
          if (entry.number <= shown || entry.data.instrument !== instrument) continue;
          lines.add(entry.event_ns / 1e9, [entry.data.after[level], entry.data.advice?.levels[level]]);
        }
        shown = logs.threshold.at(-1)?.number ?? 0;
      },
      ages: true,
      render() {
        told(value("models"), "models");
        loaded.fill((data("models")?.loaded ?? []).map((one) => {
          const actions = one.state === "shadow" ? cell("Promote", `Promote ${one.name}`, () => controls.promote(one.name, one.version))
            : one.state === "active" ? cell("Roll back", `Roll back ${one.name}`, () => controls.rollback(one.name)) : "";
          return [one.name, String(one.version), badge(one.state), count(one.runs), number(one.report.golden_difference, 2),
            `${number(one.report.p50_us, 3)} µs`, `${number(one.report.p99_us, 3)} µs`, one.hash.slice(0, 16), actions];
        }), "no model is loaded: static profiles hold");
        const repository = data("models", "repository");
        learn(repository);
        const contracts = repository?.contracts ?? [];
        trained.fill(contracts.map((one) => [one.name, String(one.version), one.kind, one.created ?? "–",
          (one.training?.sources ?? []).slice(0, 3).join(", ") + (one.training?.sources?.length > 3 ? ", …" : ""),
          Object.entries(one.metrics ?? {}).slice(0, 4).map(([name, metric]) => `${name} ${number(metric, 4)}`).join("; ")]), "no repository");
        if (happened()) events.fill(newestFirst("model").map(({ wall_ns, data: one }) => [clock(wall_ns), one.event, one.name ? `${one.name} ${one.version ?? one.to ?? ""}` : "–", one.text ?? one.reason ?? one.hash?.slice(0, 16) ?? ""]));
      },
    };
  },
};

const audit = {
  name: "audit",
  title: "Audit",
  make(host) {
    const told = note(host);
    const facts = table("The log", ["Entries", "Waiting", "Dropped", "Checkpoint over", "Root", "State"]);
    const log = panel(host, "Log");
    log.append(facts.element, element("p", { class: "actions" }, button("Verify", "Verify the audit log", controls.verifyLog)));
    const progress = element("progress", { max: 1, value: 0, "aria-label": "Verification" });
    const verdict = element("p", { role: "status" });
    log.append(progress, verdict);
    const asked = table("What operators did, newest first", ["Time", "What"]);
    panel(host, "Operators").append(asked.element);
    const books = table("Changes of books, newest first", ["Time", "Book", "Quality", "Expected", "Received"]);
    panel(host, "Books").append(books.element);
    const [operated, changed] = [grown("operator"), grown("quality")];
    return {
      render() {
        const one = data("audit");
        told(value("audit"), "audit log");
        facts.fill(one ? [[count(one.entries), count(one.queued), count(one.dropped), count(one.checkpoint?.size), one.checkpoint?.root.slice(0, 32) ?? "–", one.error ?? "written"]] : [], "this run has no audit log");
        const check = data("audit", "verification");
        progress.hidden = check?.state !== "running";
        if (check?.state === "running") {
          progress.value = check.result.entries / Math.max(1, check.result.of);
          write(verdict, `Recomputing: ${count(check.result.entries)} of ${count(check.result.of)} entries`);
        } else if (check) {
          const found = check.result.findings?.filter((finding) => finding.severity !== "note") ?? [];
          write(verdict, `${check.state.toUpperCase()}: ${count(check.result.size)} entries, ${count(check.result.checkpoints)} checkpoints recomputed ${age(ageOf(value("audit", "verification")))} ago${found.map((finding) => `; ${finding.path}: ${finding.reason}`).join("")}${check.result.error ?? ""}`);
        } else write(verdict, "Not verified since the engine started.");
        if (operated()) asked.fill(newestFirst("operator").map(({ data: line }) => [clock(line.event_ns), line.operator]), "nobody did anything");
        if (changed()) books.fill(newestFirst("quality").map(({ data: line }) => [clock(line.event_ns), line.book, badge(line.quality), line.expected ?? "–", line.received ?? "–"]));
      },
      ages: true,
    };
  },
};

const feeds = {
  name: "feeds",
  title: "Feeds",
  make(host) {
    const told = note(host);
    const links = table("Connections", ["Market", "Connection", "State", "Heard", "Frames", "Bytes", "Topics", "Made", "Failed in a row", ""]);
    panel(host, "Connections").append(links.element);
    const clocks = table("Clocks of venues against ours", ["Market", "Offset", "Known to within"]);
    panel(host, "Clocks").append(clocks.element);
    const events = table("What happened, newest first", ["Time", "Market", "Connection", "What", "Detail"]);
    panel(host, "Events").append(events.element);
    const pools = panel(host, "Dark pools");
    const happened = grown("connection");
    pools.append(element("p", { class: "age" }, "No pool is configured: routing to pools comes with order gateways."));
    return {
      render() {
        const entry = value("feeds");
        const all = entry?.data;
        told(entry, "feeds");
        links.fill((all?.links ?? []).map((one) => [one.venue, one.name, badge(one.state), one.heard_ms === null ? "–" : age(one.heard_ms + (ageOf(entry) ?? 0)), count(one.frames), count(one.bytes), count(one.topics), count(one.connections), count(one.failed_attempts),
          one.state === "error" ? cell("Try again", `Let ${one.venue} try again`, () => controls.clearFeeds(one.venue)) : ""]), "this run replays captures: it has no connections");
        clocks.fill(Object.entries(all?.clocks ?? {}).map(([venue, skew]) => [venue, duration(skew.offset_ns), `± ${duration(skew.bound_ns)}`]));
        if (happened()) events.fill(newestFirst("connection", 100).map(({ data: one }) => [clock(one.at_ns), one.venue, one.connection || "–", one.kind, one.detail]));
      },
      ages: true,
    };
  },
};

const risk = {
  name: "risk",
  title: "Positions",
  make(host) {
    const tools = element("p", { class: "actions" });
    host.append(tools);
    const told = note(host);
    tools.append(button("Kill everything", "Kill everything: throw the kill switch of the engine", () => controls.kill("engine")));
    const thrown = table("Kill switches that are thrown", ["Scope", "Cause", "Rule", "By", "Since", ""]);
    panel(host, "Kill switches").append(thrown.element);
    const positions = table("Positions", ["Account", "Strategy", "Instrument", "Quantity"]);
    panel(host, "Positions").append(positions.element);
    const standing = table("Where scopes stand, reporting currency", ["Scope", "Exposure", "Profit", "Lost today", "Drawdown"]);
    panel(host, "Exposure").append(standing.element);
    const accounts = table("Accounts, as venues tell them", ["Market", "Channel", "Rows", "Age"]);
    panel(host, "Accounts").append(accounts.element);
    const ledger = table("Balance ledger", ["Total", "Locked", "Available", "Virtual", "Locks", "State"]);
    panel(host, "Balances").append(ledger.element);
    const alerts = table("Alerts, newest first", ["Time", "Kind", "Detail"]);
    panel(host, "Alerts").append(alerts.element);
    const alerted = grown("alert");
    const millionths = (amount) => number(amount / 1e6);
    return {
      ages: true,
      render() {
        const entry = value("risk");
        told(entry, "risk desk");
        const one = entry?.data;
        thrown.fill((one?.thrown ?? []).map((latch) => [latch.scope, latch.cause, latch.rule ?? "–", latch.person ?? "–", clock(latch.event_ns), cell("Reset", `Reset the kill switch of ${latch.scope}`, () => controls.revive(latch.scope))]), one ? "none" : "unknown: no risk desk has answered");
        positions.fill((one?.positions ?? []).map((held) => [held.account, held.strategy, held.instrument, held.qty]), "none");
        standing.fill((one?.standing ?? []).map((scope) => [scope.scope, millionths(scope.exposure_millionths), millionths(scope.profit_millionths), millionths(scope.daily_loss_millionths), millionths(scope.drawdown_millionths)]), "no risk desk");
        const channels = Object.entries(data("feeds")?.accounts ?? {}).flatMap(([venue, all]) => Object.entries(all).map(([channel, found]) => [venue, channel, JSON.stringify(found.rows).slice(0, 200), age(found.age_ms + (ageOf(value("feeds")) ?? 0))]));
        accounts.fill(channels, "no private stream");
        const held = data("ledger");
        ledger.fill(held ? [[held.balance.total, held.balance.locked, held.balance.available, held.balance.virtual, String(held.positions.locked_count), held.state].map(String)] : [], "no ledger");
        if (alerted()) alerts.fill(newestFirst("alert", 100).map(({ event_ns, data: alert }) => {
          const { kind, ...rest } = alert;
          return [clock(event_ns), kind ?? "alert", Object.entries(rest).map(([key, what]) => `${key} ${typeof what === "object" ? JSON.stringify(what) : what}`).join(", ").slice(0, 240)];
        }), "none");
      },
    };
  },
};

const debug = {
  name: "debug",
  title: "Debug",
  make(host) {
    const flows = table("Flow of each instrument", ["Instrument", "Flow", "Book", "Breakers", "Age"]);
    panel(host, "Flows").append(flows.element);
    const topics = table("Newest value of each topic", ["Topic", "Keys", "Age of the newest"]);
    panel(host, "Topics").append(topics.element);
    const server = table("Stream server", ["What", "Value"]);
    panel(host, "Server").append(server.element);
    const stores = table("Stores and Redis", ["What", "Value"]);
    panel(host, "Stores").append(stores.element);
    const page = table("This page", ["What", "Value"]);
    panel(host, "Page").append(page.element);
    const TOPICS = ["engine", "price", "book", "features", "signal", "breakers", "latency", "models", "feeds", "risk", "ledger", "audit", "flow", "trap", "stores", "debug", "findings"];
    return {
      ages: true,
      render() {
        flows.fill(keys("flow").map((name) => {
          const entry = value("flow", name);
          return [name, badge(entry.data.state), badge(entry.data.quality), badge(entry.data.breaker), age(ageOf(entry))];
        }));
        topics.fill(TOPICS.map((topic) => {
          const ages = keys(topic).map((key) => ageOf(value(topic, key))).filter((one) => one !== null);
          return [topic, count(keys(topic).length), ages.length ? age(Math.min(...ages)) : "never"];
        }));
        server.fill(Object.entries(data("debug") ?? {}).map(([name, one]) => [name.replaceAll("_", " "), one === null ? "–" : String(one)]));
        stores.fill(Object.entries(data("stores") ?? {}).map(([name, one]) => [name, typeof one === "object" ? JSON.stringify(one) : String(one)]), "none is configured");
        const { fps, p99 } = window.tidegate.pace();
        page.fill([["frames a second", number(fps, 3)], ["slowest of a hundred frames", `${number(p99, 3)} ms`], ["messages", count(counts.messages)], ["logs asked for again", count(counts.refetched)], ["connections lost", count(counts.reconnects)], ["run began", stamp((value("engine")?.wall_ns ?? 0) - 1e9 * (data("engine")?.uptime_s ?? 0))]]);
      },
    };
  },
};

export const VIEWS = [overview, breakers, book, features, latency, models, audit, feeds, risk, debug];
