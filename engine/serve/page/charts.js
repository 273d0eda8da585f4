// Lines over time and percentile plots, by uPlot, from rings of a fixed size.

const POINTS = 1200;

function colours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(
    ["text", "dim", "line", "one", "two", "three", "four", "five", "bad"].map((name) => [
      name, style.getPropertyValue(`--${name}`).trim(),
    ]),
  );
}

const NAMES = ["one", "two", "three", "four", "five"];

function axes(shade, more = [{}, {}]) {
  return more.map((own) => ({
    stroke: shade.dim,
    grid: { stroke: shade.line, width: 1 },
    ticks: { stroke: shade.line, width: 1 },
    font: "11px system-ui, sans-serif",
    ...own,
  }));
}

// Several lines over the engine's event time.
export class Lines {
  constructor(host, labels, label, options = {}) {
    this.host = host;
    this.labels = labels;
    this.options = options;
    this.data = [[], ...labels.map(() => [])];
    host.setAttribute("role", "img");
    host.setAttribute("aria-label", label);
    this.build();
  }

  build() {
    this.plot?.destroy();
    const shade = colours();
    const series = this.labels.map((label, at) => ({
      label,
      stroke: shade[NAMES[at % NAMES.length]],
      width: 1.5,
      dash: label.includes("threshold") ? [6, 4] : undefined,
      spanGaps: true,
      points: { show: false },
    }));
    this.plot = new uPlot(
      {
        width: Math.max(200, this.host.clientWidth),
        height: this.options.height ?? 220,
        series: [{}, ...series],
        axes: axes(shade),
        scales: { x: { time: true }, y: this.options.y ?? {} },
        cursor: { drag: { x: false, y: false } },
        legend: { live: true },
      },
      this.data,
      this.host,
    );
  }

  clear() {
    this.data = [[], ...this.labels.map(() => [])];
    this.dirty = true;
  }

  // Adds a moment, seconds since the Unix epoch; time that went back begins anew.
  add(second, values) {
    const [times] = this.data;
    if (times.length && second < times.at(-1)) this.clear();
    if (this.data[0].length && second === this.data[0].at(-1)) return;
    this.data[0].push(second);
    values.forEach((value, at) => this.data[at + 1].push(value ?? null));
    if (this.data[0].length > POINTS) this.data.forEach((column) => column.splice(0, column.length - POINTS));
    this.dirty = true;
  }

  draw() {
    const width = Math.max(200, this.host.clientWidth);
    if (this.plot.width !== width) this.plot.setSize({ width, height: this.options.height ?? 220 });
    if (!this.dirty) return;
    this.dirty = false;
    this.plot.setData(this.data);
  }
}

// Latency by percentile, as HdrHistogram plots it: 1 / (1 - quantile) on a logarithmic axis.
export class Percentiles {
  constructor(host, label, budget) {
    this.host = host;
    this.budget = budget;
    this.data = [[1, 10], [null, null], [null, null], [budget, budget]];
    host.setAttribute("role", "img");
    host.setAttribute("aria-label", label);
    this.build();
  }

  build() {
    this.plot?.destroy();
    const shade = colours();
    const line = (label, stroke, dash) => ({ label, stroke, dash, width: 2, spanGaps: true, points: { show: false } });
    const percent = (at) => (at === null ? "–" : `${Number((100 * (1 - 1 / at)).toPrecision(7))} %`);
    const micros = (at) => (at === null ? "–" : `${Number(at.toPrecision(3))} µs`);
    this.plot = new uPlot(
      {
        width: Math.max(200, this.host.clientWidth),
        height: 260,
        series: [
          { label: "percentile", value: (_, at) => percent(at) },
          { ...line("frame to decision", shade.one), value: (_, at) => micros(at) },
          { ...line("frame to adjusted threshold", shade.two), value: (_, at) => micros(at) },
          { ...line("budget 5 ms", shade.bad, [6, 4]), value: (_, at) => micros(at) },
        ],
        axes: axes(shade, [
          { values: (_, splits) => splits.map((at) => (Math.log10(at) % 1 === 0 ? percent(at) : "")) },
          { values: (_, splits) => splits.map((at) => (Math.log10(at) % 1 === 0 ? micros(at) : "")), size: 64 },
        ]),
        scales: { x: { time: false, distr: 3, log: 10 }, y: { distr: 3, log: 10 } },
        cursor: { drag: { x: false, y: false } },
      },
      this.data,
      this.host,
    );
  }

  // Points are pairs of quantile and ns.
  set(total, adjust) {
    const at = (points) => new Map((points ?? []).map(([quantile, ns]) => [1 / (1 - quantile), Math.max(ns, 1) / 1e3]));
    const [one, two] = [at(total), at(adjust)];
    const xs = [...new Set([...one.keys(), ...two.keys()])].sort((a, b) => a - b);
    if (xs.length < 2) return;
    this.data = [xs, xs.map((x) => one.get(x) ?? null), xs.map((x) => two.get(x) ?? null), xs.map(() => this.budget)];
    this.dirty = true;
  }

  draw() {
    const width = Math.max(200, this.host.clientWidth);
    if (this.plot.width !== width) this.plot.setSize({ width, height: 260 });
    if (!this.dirty) return;
    this.dirty = false;
    this.plot.setData(this.data);
  }
}
