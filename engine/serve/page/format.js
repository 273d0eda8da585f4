// Numbers, times and elements as people read them.

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
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
  return element("span", { class: "badge", data: { state: text } }, `${SHAPES[text] ?? "○"} ${text}`);
}

// Fills a table body, keeping cells that say the same. Cells are texts, elements or functions that make one.
export function fill(body, rows) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, at) => {
    const row = body.rows[at] ?? body.insertRow();
    while (row.cells.length > cells.length) row.deleteCell(-1);
    cells.forEach((cell, column) => {
      const place = row.cells[column] ?? row.insertCell();
      if (cell instanceof Node) {
        const key = cell.dataset?.key ?? cell.textContent;
        if (place.dataset.key !== key) {
          place.replaceChildren(cell);
          place.dataset.key = key;
        }
      } else if (place.dataset.key !== undefined || place.textContent !== String(cell)) {
        delete place.dataset.key;
        place.textContent = cell;
      }
    });
  });
}

export function table(caption, heads) {
  const body = element("tbody");
  const made = element(
    "table", {},
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
    body,
  );
  const scroller = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, made);
  return { element: scroller, fill: (rows, none = "nothing yet") => fill(body, rows.length ? rows : [[none]]) };
}
