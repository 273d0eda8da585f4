// Depth over time: a column a moment, a row a price, drawn on an own canvas from a ring of columns.

import { onResize } from "./charts.js";

const COLUMNS = 480;
const ROWS = 160;

// A colour scale of even lightness from dark blue over green to yellow.
const SCALE = Array.from({ length: 256 }, (_, at) => {
  const x = at / 255;
  const red = Math.round(255 * Math.min(1, Math.max(0, 0.05 + 1.35 * x * x * x)));
  const green = Math.round(255 * Math.min(1, 0.04 + 0.93 * x));
  const blue = Math.round(255 * Math.max(0.08, 0.3 + 0.45 * x - 0.95 * x * x * x));
  return [red, green, blue];
});

export class Heatmap {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.cells = new ImageData(COLUMNS, ROWS);
    this.buffer = new OffscreenCanvas(COLUMNS, ROWS);
    this.size = [canvas.clientWidth, canvas.clientHeight];
    onResize(canvas, (...size) => { [this.size, this.dirty] = [size, true]; });
    this.reset();
  }

  reset() {
    this.columns = new Array(COLUMNS).fill(null);
    this.next = 0;
    this.middle = null;
    this.step = 0;
    this.largest = 0;
    this.wallNs = 0;
    this.dirty = true;
  }

  // Takes a look: best levels first, price and quantity.
  add(entry) {
    if (entry.wall_ns <= this.wallNs) return;
    this.wallNs = entry.wall_ns;
    const { bids, asks, tape } = entry.data;
    if (!bids.length || !asks.length) {
      this.push(null);
      return;
    }
    const middle = (bids[0][0] + asks[0][0]) / 2;
    const span = Math.max(asks.at(-1)[0] - middle, middle - bids.at(-1)[0]);
    // The grid of prices moves in steps, so that a level stays on its row.
    const off = this.step ? Math.abs(middle - this.middle) / (this.step * ROWS) : 1;
    const wide = this.step ? span / (this.step * ROWS / 2) : 0;
    if (off > 0.3 || wide > 2.5 || wide < 0.2) {
      this.step = (span * 1.6) / ROWS;
      this.middle = middle;
    }
    this.push({ bids, asks, middle, bid: bids[0][0], ask: asks[0][0], tape });
  }

  push(column) {
    this.columns[this.next] = column;
    this.next = (this.next + 1) % COLUMNS;
    this.dirty = true;
  }

  row(price) {
    return Math.round(ROWS / 2 - (price - this.middle) / this.step);
  }

  draw() {
    const { canvas, size: [width, height] } = this;
    if (!this.dirty || !width || !this.step) return;
    this.dirty = false;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const sums = new Float32Array(COLUMNS * ROWS);
    let largest = 0;
    for (let x = 0; x < COLUMNS; x += 1) {
      const column = this.columns[(this.next + x) % COLUMNS];
      if (!column) continue;
      for (const side of [column.bids, column.asks]) {
        for (const [price, quantity] of side) {
          const y = this.row(price);
          if (y < 0 || y >= ROWS) continue;
          const at = y * COLUMNS + x;
          sums[at] += quantity;
          if (sums[at] > largest) largest = sums[at];
        }
      }
    }
    this.largest = largest;
    const { data } = this.cells;
    const scale = largest > 0 ? 255 / Math.log1p(largest * 50) : 0;
    for (let at = 0; at < sums.length; at += 1) {
      const [red, green, blue] = SCALE[Math.min(255, Math.round(Math.log1p(sums[at] * 50) * scale))];
      data.set([red, green, blue, 255], at * 4);
    }
    this.buffer.getContext("2d").putImageData(this.cells, 0, 0);
    const { context } = this;
    context.imageSmoothingEnabled = false;
    context.drawImage(this.buffer, 0, 0, canvas.width, canvas.height);
    this.overlay(context, canvas.width / COLUMNS, canvas.height / ROWS, ratio);
  }

  overlay(context, wide, high, ratio) {
    for (const [side, colour] of [["bid", "#7cf29a"], ["ask", "#ff9d8f"]]) {
      context.strokeStyle = colour;
      context.lineWidth = ratio;
      context.beginPath();
      for (let x = 0; x < COLUMNS; x += 1) {
        const column = this.columns[(this.next + x) % COLUMNS];
        if (!column) continue;
        const y = (ROWS / 2 - (column[side] - this.middle) / this.step) * high;
        context.lineTo((x + 0.5) * wide, y);
      }
      context.stroke();
    }
    for (let x = 0; x < COLUMNS; x += 1) {
      const tape = this.columns[(this.next + x) % COLUMNS]?.tape;
      if (!tape) continue;
      const bought = tape.bought >= tape.sold;
      context.fillStyle = bought ? "#ffffff" : "#ff4fd8";
      const size = Math.min(6, 1.5 + Math.log1p((tape.bought + tape.sold) * 20)) * ratio;
      const y = this.row(tape.last) * high;
      context.beginPath();
      // Bought: a disc; sold: a square.
      if (bought) context.arc((x + 0.5) * wide, y, size / 2, 0, 7);
      else context.rect((x + 0.5) * wide - size / 2, y - size / 2, size, size);
      context.fill();
    }
    context.fillStyle = "#e8eef5";
    context.font = `${11 * ratio}px system-ui, sans-serif`;
    for (const part of [0.1, 0.5, 0.9]) {
      const price = this.middle + (0.5 - part) * ROWS * this.step;
      context.fillText(price.toPrecision(7), 4 * ratio, part * this.canvas.height + 4 * ratio);
    }
  }
}
