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

// The browser says when something has another size; asking it would have it lay out the page in the middle of a frame.
// What is hidden has no size, and keeps the one it had.
const watched = new Map();
const sizes = new ResizeObserver((entries) => {
  for (const { target, contentRect: { width, height } } of entries) if (width > 0) watched.get(target)?.(width, height);
});

export function onResize(host, take) {
  watched.set(host, take);
  sizes.observe(host);
}

// What every chart is: a plot in an element, as wide as that, drawn anew when there is something new.
class Chart {
  constructor(host, label, height) {
    this.host = host;
    this.height = height;
    this.width = Math.max(200, host.clientWidth);
    host.setAttribute("role", "img");
    host.setAttribute("aria-label", label);
    onResize(host, (width) => { this.width = Math.max(200, Math.round(width)); });
  }

  // Makes the plot, in the colours of the theme; again when that changes.
  build() {
    this.plot?.destroy();
    const { width, height } = this;
    this.plot = new uPlot({ width, height, cursor: { drag: { x: false, y: false } }, ...this.look(colours()) }, this.data, this.host);
    this.dirty = false;
  }

  draw() {
    if (this.plot.width !== this.width) this.plot.setSize({ width: this.width, height: this.height });
    if (!this.dirty) return false;
    this.dirty = false;
    this.plot.setData(this.data);
    return true;
  }
}

// Several lines over the engine's event time, or over numbers (`time: false`). A line whose label begins with "threshold"
// is dashed and keeps only the points at which it changes: a dashed line costs by its points.
export class Lines extends Chart {
  constructor(host, labels, label, options = {}) {
    super(host, label, options.height ?? 220);
    this.labels = labels;
    this.options = options;
    this.clear();
    this.build();
  }

  look(shade) {
    // The legend of a point between two changes says what held there.
    const held = (plot, at, series, index) => {
      const column = plot.data[series];
      let from = index ?? column.length - 1;
      while (from > 0 && (column[from] === null || column[from] === undefined)) from -= 1;
      const one = column[from];
      return one === null || one === undefined ? "–" : String(Number(one.toPrecision(6)));
    };
    const series = this.labels.map((label, at) => ({
      label,
      stroke: shade[NAMES[at % NAMES.length]],
      width: 1.5,
      spanGaps: true,
      points: { show: false },
      ...(isLevel(label) ? { dash: [6, 4], value: held } : {}),
    }));
    const time = this.options.time ?? true;
    return {
      series: [time ? {} : { label: this.options.x ?? "x" }, ...series],
      axes: axes(shade),
      scales: { x: { time }, y: {} },
      legend: { live: true },
    };
  }

  clear() {
    this.data = [[], ...this.labels.map(() => [])];
    // The newest value of each line, and the one before.
    this.last = this.labels.map(() => [null, null]);
    this.dirty = true;
  }

  // Adds a moment, seconds since the Unix epoch; time that went back begins anew.
  add(second, values) {
    if (this.data[0].length && second < this.data[0].at(-1)) this.clear();
    const [times] = this.data;
    if (times.length && second === times.at(-1)) return;
    times.push(second);
    values.forEach((value, at) => {
      const [column, one] = [this.data[at + 1], value ?? null];
      if (isLevel(this.labels[at])) {
        const [before, before2] = this.last[at];
        if (one !== null && one === before && one === before2) column[column.length - 1] = null;
        this.last[at] = [one, before];
      }
      column.push(one);
    });
    if (times.length > POINTS) this.shorten();
    this.dirty = true;
  }

  // Drops the oldest moments; what held at the first that is left is written there.
  shorten() {
    const over = this.data[0].length - POINTS;
    this.data.forEach((column, at) => {
      let held = null;
      for (let back = over; held === null && back >= 0; back -= 1) held = column[back];
      column.splice(0, over);
      if (at > 0 && isLevel(this.labels[at - 1])) column[0] = held;
    });
  }
}

function isLevel(label) {
  return label.startsWith("threshold");
}

// Latency by percentile, as HdrHistogram plots it: 1 / (1 - quantile) on a logarithmic axis.
export class Percentiles extends Chart {
  constructor(host, label, budget) {
    super(host, label, 260);
    this.budget = budget;
    this.data = [[1, 10], [null, null], [null, null], [budget, budget]];
    this.build();
  }

  look(shade) {
    const line = (label, stroke, dash) => ({ label, stroke, dash, width: 2, spanGaps: true, points: { show: false } });
    const percent = (at) => (at === null ? "–" : `${Number((100 * (1 - 1 / at)).toPrecision(7))} %`);
    const micros = (at) => (at === null ? "–" : `${Number(at.toPrecision(3))} µs`);
    return {
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
    };
  }

  // Points are pairs of quantile and ns. The same value a second time changes nothing.
  set(total, adjust) {
    if (total === this.total && adjust === this.adjust) return;
    [this.total, this.adjust] = [total, adjust];
    const at = (points) => new Map((points ?? []).map(([quantile, ns]) => [1 / (1 - quantile), Math.max(ns, 1) / 1e3]));
    const [one, two] = [at(total), at(adjust)];
    const xs = [...new Set([...one.keys(), ...two.keys()])].sort((a, b) => a - b);
    if (xs.length < 2) return;
    this.data = [xs, xs.map((x) => one.get(x) ?? null), xs.map((x) => two.get(x) ?? null), xs.map(() => this.budget)];
    this.dirty = true;
  }
}
