// Numbers, times and elements as people read them.

export function element(tag, properties = {}, ...children) {
  const one = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") one.className = value;
    else if (name === "data") Object.assign(one.dataset, value);
    else if (name.startsWith("on")) one.addEventListener(name.slice(2), value);
    else if (name in one && name !== "list") one[name] = value;
    else one.setAttribute(name, value);
  }
  one.append(...children.filter((child) => child !== null && child !== undefined));
  return one;
}

export function number(value, digits = 6) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e9 || size < 1e-4) return value.toExponential(2);
  return Number(value.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 8 });
}

export function count(value) {
  return value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en");
}

// A duration given in ns.
export function duration(ns) {
  if (ns === null || ns === undefined) return "–";
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]]) {
    if (Math.abs(ns) >= size) return `${Number((ns / size).toPrecision(3))} ${unit}`;
  }
  return `${Math.round(ns)} ns`;
}

export function age(ms) {
  if (ms === null || ms === undefined) return "never";
  if (ms < 1000) return `${Math.max(0, Math.round(ms / 100)) / 10} s`;
  if (ms < 60000) return `${Math.round(ms / 100) / 10} s`;
  if (ms < 3600000) return `${Math.floor(ms / 60000)} min ${Math.round((ms % 60000) / 1000)} s`;
  return `${Math.floor(ms / 3600000)} h ${Math.round((ms % 3600000) / 60000)} min`;
}

// UTC, to the millisecond; from ns since the Unix epoch.
export function clock(ns) {
  return ns ? `${new Date(ns / 1e6).toISOString().slice(11, 23)} UTC` : "–";
}

export function stamp(ns) {
  return ns ? new Date(ns / 1e6).toISOString().replace("T", " ").replace("Z", " UTC") : "–";
}

// States by text and shape, not by colour alone.
export const SHAPES = {
  closed: "●", "half-open": "◐", cooling: "◔", tripped: "■",
  active: "●", synchronised: "◐", paused: "■", disrupted: "▲",
  good: "●", building: "◔", stale: "▲", gapped: "▲", crossed: "▲", mismatched: "▲",
  connected: "●", authenticating: "◔", realigning: "◐", disconnected: "▲", error: "■",
  shadow: "◐", previous: "◔", unknown: "○",
};

export function badge(state) {
  const text = state ?? "unknown";
  return made(`badge ${text}`, () => element("span", { class: "badge", data: { state: text } }, `${SHAPES[text] ?? "○"} ${text}`));
}

// A cell that is an element: `make` makes it where the cell shows another one yet. Whatever it depends on is in its key.
export function made(key, make) {
  return { key, make };
}

// Sets a text where it is another one: the browser lays out anew whatever is written to.
export function write(place, text) {
  const first = place.firstChild;
  const same = first ? first.nodeValue === text && !first.nextSibling : text === "";
  if (!same) place.textContent = text;
}

const keyOf = (cell) => (cell?.make ? cell.key : `text ${cell}`);

// How many rows have come on top of those that are shown; 0 where it is another table altogether.
function arrived(shown, rows) {
  const same = (cells, keys) => cells && keys.length === cells.length && cells.every((cell, at) => keyOf(cell) === keys[at]);
  if (!shown.length || same(rows[0], shown[0].keys)) return 0;
  for (let came = 1; came < rows.length; came += 1) {
    const next = shown[1];
    if (same(rows[came], shown[0].keys) && (!next || came + 1 >= rows.length || same(rows[came + 1], next.keys))) return came;
  }
  return 0;
}

// Fills a table body. What its cells show is kept in `shown`, so that cells which say the same cost a comparison and
// nothing of the document is asked or changed.
function fill(body, shown, rows) {
  // News come on top: rows that have only moved down are left as they are.
  for (let came = arrived(shown, rows); came > 0; came -= 1) {
    shown.unshift({ row: body.insertRow(0), keys: [] });
  }
  while (shown.length > rows.length) {
    body.deleteRow(-1);
    shown.pop();
  }
  rows.forEach((cells, at) => {
    if (!shown[at]) {
      shown[at] = { row: body.insertRow(), keys: [] };
    }
    const { row, keys } = shown[at];
    while (keys.length > cells.length) {
      row.deleteCell(-1);
      keys.pop();
    }
    cells.forEach((cell, column) => {
      const key = keyOf(cell);
      if (keys[column] === key) return;
      const place = row.cells[column] ?? row.insertCell();
      if (cell?.make) place.replaceChildren(cell.make());
      else write(place, String(cell));
      keys[column] = key;
    });
  });
}

export function table(caption, heads) {
  const body = element("tbody");
  const shown = [];
  const whole = element(
    "table", {},
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
    body,
  );
  const scroller = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, whole);
  return { element: scroller, fill: (rows, none = "nothing yet") => fill(body, shown, rows.length ? rows : [[none]]) };
}
