// The connection to the engine: newest values by topic and key, numbered logs without holes, clocks.

const LOGS = ["breaker", "threshold", "quality", "operator", "connection", "model", "alert", "trap-alarm", "psc"];
const ALWAYS = ["engine", "price", "breakers", "latency", "models", "feeds", "risk", "ledger", "audit", "flow", "trap",
  "signal", "calibration", "paper", "stores", "debug", "findings", ...LOGS];
const KEPT = 2000;
// Without news for so long the page does not call itself live, ms.
const PATIENCE = 2500;

export const state = {};
export const logs = Object.fromEntries(LOGS.map((name) => [name, []]));
const places = Object.fromEntries(LOGS.map((name) => [name, 0]));
let newests = {};
const listeners = new Set();

let socket = null;
let wanted = new Set();
let heardAt = null;
let newsAt = null;
let clockAt = null;
let clockNs = 0;
let delay = 500;
let epoch = null;
let started = null;
// Without any word for so long the connection is given up, ms: the server tells its clock every second.
const SILENCE = 6000;
export const counts = { messages: 0, refetched: 0, reconnects: 0 };

export function onNews(listener) {
  listeners.add(listener);
}

// The newest trip that there was when this page met the engine; null before.
export function newestAtStart() {
  return started;
}

export function value(topic, key = "") {
  return state[topic]?.[key];
}

export function keys(topic) {
  return Object.keys(state[topic] ?? {}).sort();
}

// The engine's wall time now, ns, by its last word and this page's own steady clock.
export function engineNow() {
  return clockAt === null ? null : clockNs + (performance.now() - clockAt) * 1e6;
}

// How old a value is, ms.
export function ageOf(entry) {
  const now = engineNow();
  return entry && now !== null ? Math.max(0, (now - entry.wall_ns) / 1e6) : null;
}

// LIVE, STALE or DISCONNECTED, and for how long.
export function condition() {
  const now = performance.now();
  if (socket?.readyState === WebSocket.OPEN && heardAt !== null && now - heardAt > SILENCE) socket.close();
  if (!socket || socket.readyState !== WebSocket.OPEN || (heardAt !== null && now - heardAt > SILENCE)) {
    return { state: "disconnected", since: heardAt === null ? null : now - heardAt };
  }
  const since = newsAt === null ? null : now - newsAt;
  const over = value("engine")?.data.state === "ended";
  return { state: since === null || since > PATIENCE || over ? "stale" : "live", since, over };
}

function take(message) {
  if (message.clock || message.hello) {
    clockNs = (message.clock ?? message.hello).wall_ns;
    clockAt = performance.now();
    return;
  }
  if (message.missed) {
    refetch(message.missed.topic);
    return;
  }
  if (!message.topic) return;
  if (message.number !== undefined) {
    append(message);
    return;
  }
  const before = value(message.topic, message.key ?? "");
  (state[message.topic] ??= {})[message.key ?? ""] = message;
  // The engine's own counters come whether or not the market moves: the market is what is live. What was told long ago
  // and is sent once more is no news.
  if ((message.topic === "price" || message.topic === "book") && (before?.wall_ns ?? 0) < message.wall_ns) {
    newsAt = Math.max(newsAt ?? -Infinity, performance.now() - (ageOf(message) ?? 0));
  }
}

function append(message) {
  const log = logs[message.topic];
  if (!log) return;
  const place = places[message.topic];
  if (message.number <= place) return;
  if (place > 0 && message.number > place + 1) refetch(message.topic);
  log.push(message);
  places[message.topic] = message.number;
  if (log.length > KEPT) log.splice(0, log.length - KEPT);
}

// Asks for the whole log again and puts it in order: holes are filled, nothing is shown twice.
async function refetch(topic) {
  counts.refetched += 1;
  try {
    const newest = Math.max(places[topic], newests[topic] ?? 0);
    const after = Math.max(0, newest - KEPT);
    const answer = await fetch(`/api/events/${topic}?after=${after}&limit=8192`, { headers: headers() });
    const found = await answer.json();
    const byNumber = new Map([...logs[topic], ...found.events].map((entry) => [entry.number, entry]));
    const all = [...byNumber.values()].sort((a, b) => a.number - b.number);
    logs[topic].splice(0, logs[topic].length, ...all.slice(-KEPT));
    places[topic] = Math.max(places[topic], all.at(-1)?.number ?? 0);
    announce();
  } catch (error) {
    console.warn(`the log ${topic} cannot be asked for: ${error}`);
  }
}

let announced = false;
function announce() {
  if (announced) return;
  announced = true;
  requestAnimationFrame(() => {
    announced = false;
    listeners.forEach((listener) => listener());
  });
}

export function token() {
  return sessionStorage.getItem("tidegate.token") ?? "";
}

export function headers() {
  return token() ? { Authorization: `Bearer ${token()}` } : {};
}

export function signIn(text) {
  if (text) sessionStorage.setItem("tidegate.token", text);
  else sessionStorage.removeItem("tidegate.token");
  if (socket?.readyState === WebSocket.OPEN) socket.close();
  else connect();
}

export async function ask(request) {
  const answer = await fetch("/api/do", {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers() },
    body: JSON.stringify(request),
  });
  return answer.json();
}

// Topics that a view needs beside those that are always followed.
export function want(topics) {
  const fresh = topics.filter((topic) => !wanted.has(topic));
  const gone = [...wanted].filter((topic) => !topics.includes(topic));
  wanted = new Set(topics);
  if (gone.length) send({ op: "unsubscribe", topics: gone });
  if (fresh.length) send({ op: "subscribe", topics: fresh });
}

function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

export function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const own = new WebSocket(`${scheme}://${location.host}/ws`);
  socket = own;
  own.onopen = async () => {
    heardAt = performance.now();
    // Numbers of a server that was started anew begin anew.
    await begin();
    if (token()) send({ op: "auth", token: token() });
    const after = Object.fromEntries(LOGS.map((name) => [name, places[name]]));
    send({ op: "subscribe", topics: [...ALWAYS, ...wanted], every_ms: 50, after, ...(epoch === null ? {} : { epoch }) });
  };
  own.onmessage = ({ data }) => {
    heardAt = performance.now();
    counts.messages += 1;
    delay = 500;
    take(JSON.parse(data));
    announce();
  };
  own.onclose = ({ code }) => {
    if (socket !== own) return;
    counts.reconnects += 1;
    announce();
    // Without a token it would be the same again: signing in connects.
    if (code === 1008 && !token()) return;
    setTimeout(connect, delay);
    delay = Math.min(delay * 2, 8000);
  };
}

// Loads the logs as they are; forgets what an engine that is no more had told.
async function begin() {
  try {
    const answer = await fetch("/api/state", { headers: headers() });
    if (!answer.ok) return;
    const found = await answer.json();
    clockNs = found.wall_ns;
    clockAt = performance.now();
    if (epoch !== null && epoch !== found.epoch) {
      for (const topic of Object.keys(state)) delete state[topic];
      for (const name of LOGS) [logs[name].length, places[name]] = [0, 0];
      [newsAt, started] = [null, null];
    }
    epoch = found.epoch;
    newests = found.newest;
    started ??= found.newest.breaker ?? 0;
    found.state.forEach(take);
    const behind = LOGS.filter((name) => (found.newest[name] ?? 0) > places[name]);
    await Promise.all(behind.map(refetch));
    counts.refetched -= behind.length;
  } catch (error) {
    console.warn(`the state cannot be asked for: ${error}`);
  }
}
