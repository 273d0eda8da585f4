// The page: views, keys, and a loop that draws what has changed.

import * as link from "./link.js";
import { keysDialog, signInDialog } from "./controls.js";
import { age, clock, count, duration, element, SHAPES, write } from "./format.js";
import { VIEWS } from "./views.js";

const main = document.getElementById("main");
const tabs = document.getElementById("tabs");
const picker = document.getElementById("instrument");
const shown = { view: null, instrument: "", paused: false };
const views = [];

VIEWS.forEach((view, at) => {
  const section = element("section", { id: `view-${view.name}`, hidden: true, "aria-labelledby": `head-${view.name}` });
  section.append(element("h2", { id: `head-${view.name}` }, view.title));
  main.append(section);
  const key = (at + 1) % 10;
  const tab = element("a", { href: `#${view.name}`, title: String(key) }, view.title);
  tabs.append(element("li", {}, tab));
  views.push({ ...view, section, tab, made: null });
});

function select(name) {
  const view = views.find((one) => one.name === name) ?? views[0];
  if (shown.view === view) return;
  if (shown.view) [shown.view.section.hidden, shown.view.tab.ariaCurrent] = [true, null];
  shown.view = view;
  [view.section.hidden, view.tab.ariaCurrent] = [false, "page"];
  view.made ??= view.make(view.section);
  document.title = `${view.title} · Tidegate`;
  refresh();
  want();
}

function want() {
  const view = shown.view;
  link.want((view.topics ?? []).map((topic) => (shown.instrument ? `${topic}:${shown.instrument}` : topic)));
}

addEventListener("hashchange", () => select(location.hash.slice(1)));
picker.addEventListener("change", () => {
  shown.instrument = picker.value;
  localStorage.setItem("tidegate.instrument", picker.value);
  views.forEach((view) => view.made?.clear?.());
  want();
  refresh();
});

let listed = "";
function instruments() {
  const names = link.value("engine")?.data.instruments ?? [];
  if (names.length && names.join() !== listed) {
    listed = names.join();
    const kept = shown.instrument || localStorage.getItem("tidegate.instrument");
    picker.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
    shown.instrument = names.includes(kept) ? kept : names[0];
    picker.value = shown.instrument;
    want();
  }
}

// The line at the top: alive or not, trading or not, how fast.
const status = document.getElementById("link");
let said = "";
function vital() {
  const { state, since, over } = link.condition();
  const since_ = since === null ? "" : ` ${age(since)}`;
  const texts = {
    live: "LIVE",
    stale: over ? `STALE: the run has ended${since_} ago` : `STALE${since_}`,
    disconnected: `DISCONNECTED${since_}: what you see is old`,
  };
  if (status.dataset.state !== state) {
    status.dataset.state = state;
    document.documentElement.dataset.link = state;
  }
  const text = `${{ live: "●", stale: "▲", disconnected: "■" }[state]} ${texts[state]}`;
  // A screen reader hears changes of state, not the seconds.
  const live = said === state ? "off" : "polite";
  if (status.ariaLive !== live) status.ariaLive = live;
  said = state;
  write(status, text);
  const known = state !== "disconnected" && link.value("breakers");
  const open = link.value("breakers")?.data.open ?? [];
  const stopped = open.filter((one) => one.to === "tripped" || one.to === "cooling");
  const engine = stopped.some((one) => one.scope === "engine");
  const thrown = link.value("risk")?.data.thrown ?? [];
  let trading = `${SHAPES.closed} allowed`;
  if (!known) trading = `${SHAPES.unknown} unknown`;
  else if (thrown.length) trading = `${SHAPES.tripped} ${thrown.length} kill switch${thrown.length > 1 ? "es" : ""} thrown`;
  else if (engine) trading = `${SHAPES.tripped} engine stopped`;
  else if (stopped.length) trading = `${SHAPES.tripped} ${stopped.length} breaker${stopped.length > 1 ? "s" : ""} open`;
  set("vital-trading", trading, !known ? "" : thrown.length || stopped.length ? "bad" : "good");
  const counts = link.value("engine", "counts");
  set("vital-event", clock(counts?.event_ns));
  set("vital-pace", counts ? `${count(counts.data.vectors_per_s)} events/s` : "–");
  const total = link.value("latency")?.data.stages.find((stage) => stage.stage === "total")?.total;
  set("vital-latency", total ? `${duration(total.p50)} / ${duration(total.p99)}` : "–");
  set("vital-audit", count(link.value("audit")?.data.entries));
}

function set(id, text, tone = "") {
  const place = document.getElementById(id);
  write(place, text);
  if (place.dataset.tone !== tone) place.dataset.tone = tone;
}

// Trips are told at once, the newest only; old ones are in the list.
const alarm = document.getElementById("alarm");
let alarmed = 0;
let began = null;
function alarms() {
  const newest = link.logs.breaker.at(-1);
  if (began === null) {
    // What had happened before this page came is in the list.
    if (link.newestAtStart() !== null) [began, alarmed] = [true, link.newestAtStart()];
    return;
  }
  if (link.newestAtStart() < alarmed && newest && newest.number < alarmed) alarmed = link.newestAtStart();
  const trips = link.logs.breaker.filter((entry) => entry.number > alarmed && entry.data.to === "tripped");
  if (!trips.length) return;
  alarmed = newest.number;
  const { name, rule, value, threshold } = trips.at(-1).data;
  const more = trips.length > 1 ? ` and ${trips.length - 1} more` : "";
  const measured = value === undefined ? "" : `: ${Number(value.toPrecision(4))} against ${Number(threshold.toPrecision(4))}`;
  alarm.textContent = `■ Tripped: ${rule} of ${name}${measured}${more}`;
  alarm.hidden = false;
  clearTimeout(alarms.timer);
  alarms.timer = setTimeout(() => { alarm.hidden = true; }, 8000);
}
alarm.hidden = true;

// Text changes ten times a second at most, pictures with every frame of the screen; not both in the same one, because
// together they may take longer than it lasts.
const TEXT_MS = 100;
let texts = 0;
let fresh = true;
const frames = [];
link.onNews(() => {
  fresh = true;
  if (shown.paused) return;
  instruments();
  shown.view?.made?.collect?.(shown.instrument);
  views.forEach((view) => view !== shown.view && view.made?.gather?.(shown.instrument));
});

function refresh() {
  fresh = true;
  texts = 0;
}

let owed = false;
function frame(now) {
  frames.push(now);
  if (frames.length > 601) frames.shift();
  requestAnimationFrame(frame);
  const writes = now - texts >= TEXT_MS;
  if (writes) {
    texts = now;
    vital();
    alarms();
    if (!shown.paused && (fresh || shown.view?.made?.ages)) {
      fresh = false;
      shown.view?.made?.render?.(shown.instrument);
    }
  }
  // Where frames are rarer than texts, pictures come with every second one.
  owed = writes && !owed;
  if (!owed && !shown.paused) shown.view?.made?.draw?.();
}

// Frames a second and the slowest of a hundred, over the last ten seconds: what tests and the debug view read.
function pace() {
  const gaps = frames.slice(1).map((at, before) => at - frames[before]).sort((a, b) => a - b);
  if (gaps.length < 2) return { fps: 0, p99: 0, frames: frames.length };
  const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
  return { fps: 1000 / mean, p99: gaps[Math.floor(gaps.length * 0.99)], frames: gaps.length };
}
window.tidegate = { pace, link, shown, resetPace: () => { frames.length = 0; } };

const pause = document.getElementById("pause");
function hold() {
  shown.paused = !shown.paused;
  pause.ariaPressed = String(shown.paused);
  pause.textContent = shown.paused ? "Go on" : "Pause";
  refresh();
}
pause.addEventListener("click", hold);

const THEMES = ["", "dark", "light"];
function theme(next) {
  const now = localStorage.getItem("tidegate.theme") ?? "";
  const chosen = next ? THEMES[(THEMES.indexOf(now) + 1) % THEMES.length] : now;
  localStorage.setItem("tidegate.theme", chosen);
  document.documentElement.dataset.theme = chosen;
  document.getElementById("theme").textContent = `Theme: ${chosen || "system"}`;
  views.forEach((view) => view.made?.restyle?.());
}
document.getElementById("theme").addEventListener("click", () => theme(true));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme(false));
document.getElementById("token").addEventListener("click", signInDialog);
document.getElementById("help").addEventListener("click", keysDialog);

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, dialog")) return;
  if (/^[0-9]$/.test(event.key)) {
    const view = views[(Number(event.key) + 9) % 10];
    if (view) location.hash = view.name;
  } else if (event.key === "p") hold();
  else if (event.key === "t") theme(true);
  else if (event.key === "?") keysDialog();
  else if (event.key === "[" || event.key === "]") {
    const at = picker.selectedIndex + (event.key === "]" ? 1 : -1);
    if (picker.options[at]) {
      picker.selectedIndex = at;
      picker.dispatchEvent(new Event("change"));
    }
  }
});

theme(false);
select(location.hash.slice(1));
link.connect();
requestAnimationFrame(frame);
