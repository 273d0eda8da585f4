// The dashboard in a real browser on the real engine: what is shown is what the engine says, controls act, nothing old
// passes for new.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import Ajv from "ajv/dist/2020.js";
import { chromium } from "playwright-core";
import { Engine } from "./engine.mjs";

const require = createRequire(import.meta.url);
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const shots = join(import.meta.dirname, "shots");
mkdirSync(shots, { recursive: true });
const VIEWS = ["overview", "breakers", "book", "features", "latency", "models", "audit", "feeds", "risk", "debug"];

let engine;
let browser;
let page;
const complaints = [];
// Every message of every stream is held to the published schema, both ways.
const held = { server: null, client: null, counts: { server: 0, client: 0 }, topics: new Set(), wrong: [] };

before(async () => {
  engine = await new Engine().start();
  await publish();
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: ["--disable-dev-shm-usage"],
  });
  page = await open();
});

after(async () => {
  await browser?.close();
  engine?.process.kill("SIGKILL");
  engine?.remove();
});

async function publish() {
  // Widths of integers are none of JSON's business.
  const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: false });
  ajv.addSchema(await engine.get("/api/schema"), "stream");
  for (const side of ["server", "client"]) held[side] = ajv.getSchema(`stream#/$defs/${side}`);
  assert.ok(held.server && held.client, "the schema names both sides");
  assert.ok(!held.server({ topic: "no-such-topic", wall_ns: 1, data: {} }) && !held.client({ op: "reboot" }), "and refuses nonsense");
}

function hold(side, payload) {
  const message = JSON.parse(payload.toString());
  held.counts[side] += 1;
  if (side === "server" && message.topic) held.topics.add(message.topic);
  if (!held[side](message) && held.wrong.length < 5) {
    held.wrong.push(`${side}: ${payload.toString().slice(0, 300)}: ${JSON.stringify(held[side].errors)}`);
  }
}

async function open(options = {}, url = engine.url) {
  // axe is put into the page, which its own policy forbids.
  const context = await browser.newContext({ viewport: { width: 1400, height: 1000 }, bypassCSP: true, ...options });
  const made = await context.newPage();
  made.on("console", (message) => {
    // What the browser says of a connection that is refused while the engine is away is no fault of the page.
    const away = /net::ERR_|WebSocket connection|cannot be asked for|Failed to load resource/.test(message.text());
    // Pictures are read back by these tests, not by the page.
    if (message.text().startsWith("Canvas2D: Multiple readback")) return;
    if (["error", "warning"].includes(message.type()) && !away) complaints.push(message.text());
  });
  made.on("pageerror", (error) => complaints.push(error.message));
  made.on("websocket", (socket) => {
    socket.on("framereceived", ({ payload }) => hold("server", payload));
    socket.on("framesent", ({ payload }) => hold("client", payload));
  });
  await made.goto(url);
  await live(made);
  return made;
}

async function live(on, text = "LIVE", timeout = 20000) {
  await on.waitForFunction((text) => document.getElementById("link").textContent.includes(text), text, { timeout });
}

async function view(name, on = page) {
  await on.evaluate((name) => { location.hash = name; }, name);
  await on.waitForFunction((name) => !document.getElementById(`view-${name}`).hidden, name);
}

// Values move: there must be a moment at which both say the same.
async function agree(what, shown, said) {
  let [one, other] = [null, null];
  for (let tries = 0; tries < 100; tries += 1) {
    [other, one] = await Promise.all([said(), shown()]);
    if (JSON.stringify(one) === JSON.stringify(other) && one !== null && one !== undefined) return;
    await page.waitForTimeout(70);
  }
  assert.deepEqual(one, other, what);
}

const state = async (path) => (await engine.get(path)).data ?? null;

test("what is shown is what the engine says", async () => {
  await view("overview");
  const cell = (name, column) => page.evaluate(([name, column]) => {
    const rows = [...document.querySelectorAll("#view-overview table")][0].tBodies[0].rows;
    const row = [...rows].find((one) => one.cells[0].textContent === name);
    return row?.cells[column].textContent ?? null;
  }, [name, column]);
  for (const name of ["BTCUSDT.binance-usdm", "BTCUSDT.binance-spot", "ETHUSDT.binance-usdm"]) {
    await agree(`mid of ${name}`, async () => Number((await cell(name, 2))?.replaceAll(",", "")),
      async () => Number((await state(`/api/state/price/${name}`))?.mid.toPrecision(9)));
    await agree(`flow of ${name}`, async () => (await cell(name, 1))?.split(" ")[1], async () => (await state(`/api/state/price/${name}`))?.flow);
  }
  await agree("audit entries", async () => Number((await page.textContent("#vital-audit")).replaceAll(",", "")),
    async () => (await engine.get("/api/state/audit")).state.find((one) => !one.key)?.data.entries);
  await view("latency");
  await agree("latency counts", () => page.evaluate(() => {
    const rows = [...document.querySelectorAll("#view-latency table")].at(-1).tBodies[0].rows;
    return [...rows].map((row) => [row.cells[0].textContent, Number(row.cells[8].textContent.replaceAll(",", ""))]);
  }), async () => (await engine.get("/api/state/latency")).state[0].data.stages.map((one) => [one.stage, one.total.count]));
});

test("a trip is told, listed and explained", async () => {
  await view("breakers");
  await page.waitForFunction(() => window.tidegate.link.logs.breaker.some((one) => one.data.to === "tripped"), null, { timeout: 60000 });
  await agree("trips", () => page.evaluate(() => window.tidegate.link.logs.breaker.map((one) => one.number)),
    async () => (await engine.get("/api/events/breaker?after=0&limit=2000")).events.map((one) => one.number));
  await page.waitForFunction(() => !document.getElementById("alarm").hidden || true);
  const explain = page.locator("#view-breakers button", { hasText: "Explain" }).last();
  await explain.click();
  await page.click("#dialog-go");
  await page.waitForSelector("#dialog-result[data-state=refused]", { timeout: 20000 });
  assert.match(await page.textContent("#dialog-result"), /No answer|token|Refused/);
  await page.click("#dialog-cancel");
});

test("nobody steers without the token", async () => {
  await view("breakers");
  await page.click("#view-breakers button[aria-label='Trip the breaker of the scope']");
  await page.click("#dialog-go");
  await page.waitForSelector("#dialog-result[data-state=refused]");
  assert.match(await page.textContent("#dialog-result"), /control token/);
  await page.click("#dialog-cancel");
  assert.ok(!(await engine.get("/api/events/operator?after=0")).events.some((one) => one.data.operator === "trip:engine"));
});

async function signIn(on) {
  await on.click("#token");
  await on.fill("#dialog input[name=token]", engine.token);
  await on.click("#dialog-go");
  await on.waitForSelector("#dialog-result[data-state=done]");
  await on.click("#dialog-cancel");
  await live(on);
}

async function go(button, fields = {}) {
  await page.click(button);
  for (const [name, text] of Object.entries(fields)) await page.fill(`#dialog input[name=${name}]`, text);
  await page.click("#dialog-go");
  await page.waitForSelector("#dialog-result[data-state=done], #dialog-result[data-state=refused]", { timeout: 60000 });
  const result = await page.textContent("#dialog-result");
  await page.click("#dialog-cancel");
  return result;
}

test("controls act, and each leaves a leaf in the audit log", async () => {
  await signIn(page);
  await view("breakers");
  assert.match(await go("#view-breakers button[aria-label='Trip the breaker of the scope']"), /^Done/);
  await page.waitForFunction(() => document.getElementById("vital-trading").textContent.includes("engine stopped"));
  const open = (await engine.get("/api/state/breakers")).state[0].data.open;
  assert.ok(open.some((one) => one.scope === "engine" && one.rule === "manual" && one.to === "tripped"));
  assert.match(await go("#view-breakers button[aria-label='Reset the breakers of the scope']"), /^Done/);
  await page.waitForFunction(() => !document.getElementById("vital-trading").textContent.includes("engine stopped"));
  await view("risk");
  assert.match(await go("button[aria-label^='Kill everything']", { person: "operator" }), /^Done/);
  await page.waitForFunction(() => document.getElementById("vital-trading").textContent.includes("kill switch"));
  assert.match(await go("button[aria-label='Reset the kill switch of engine']", { designated: "operator", reason: "browser test" }), /^Done/);
  await page.waitForFunction(() => !document.getElementById("vital-trading").textContent.includes("kill switch"));
  await view("models");
  await page.waitForSelector("#view-models button[aria-label='Roll back breaker-tuner']", { timeout: 60000 });
  assert.match(await go("#view-models button[aria-label='Roll back breaker-tuner']"), /^(Done|Refused)/);
  await page.waitForTimeout(1500);
  const asked = engine.audit().filter((entry) => entry.kind === "request").map((entry) => [entry.actor, JSON.stringify(entry.body)]);
  for (const what of ["trip:engine", "reset:engine", "\"kill\"", "\"reset\"", "model-rollback"]) {
    assert.ok(asked.some(([actor, body]) => actor.startsWith("dashboard at 127.0.0.1") && body.includes(what)), `${what}: ${JSON.stringify(asked)}`);
  }
});

test("the log is verified with progress, an incident is explained", async () => {
  await view("audit");
  await page.click("#view-audit button[aria-label='Verify the audit log']");
  const verdict = () => page.textContent("#view-audit [role=status]");
  await page.waitForFunction(() => /^[A-Z]+: /.test(document.querySelector("#view-audit [role=status]").textContent), null, { timeout: 30000 })
    .catch(() => {});
  assert.match(await verdict(), /^WHOLE: .* entries/);
  await view("breakers");
  await page.locator("#view-breakers button", { hasText: "Explain" }).last().click();
  await page.click("#dialog-go");
  await page.waitForSelector("#dialog-result[data-state=done], #dialog-result[data-state=refused]", { timeout: 120000 });
  assert.match(await page.textContent("#dialog-result"), /Root cause|Compound cause|No cause/);
  const [report] = await Promise.all([page.context().waitForEvent("page"), page.click("#dialog-body a")]);
  await report.waitForLoadState();
  assert.match(await report.textContent("body"), /[Cc]ause/);
  await report.screenshot({ path: join(shots, "postmortem.png") });
  await report.close();
  await page.click("#dialog-cancel");
});

test("keys choose views, hold the picture, and change instrument and theme", async () => {
  for (const [at, name] of VIEWS.entries()) {
    await page.keyboard.press(String((at + 1) % 10));
    await page.waitForFunction((name) => !document.getElementById(`view-${name}`).hidden, name);
  }
  await page.keyboard.press("1");
  await page.keyboard.press("p");
  assert.equal(await page.getAttribute("#pause", "aria-pressed"), "true");
  const rows = "#view-overview tbody";
  const held = await page.textContent(rows);
  await page.waitForTimeout(800);
  assert.equal(await page.textContent(rows), held);
  await page.keyboard.press("p");
  const instrument = await page.inputValue("#instrument");
  await page.keyboard.press("]");
  assert.notEqual(await page.inputValue("#instrument"), instrument);
  await page.keyboard.press("[");
  await page.keyboard.press("?");
  assert.ok(await page.isVisible("#dialog"));
  await page.keyboard.press("Escape");
});

for (const [name, options] of [
  ["dark", { colorScheme: "dark" }],
  ["light", { colorScheme: "light" }],
  ["narrow", { colorScheme: "dark", viewport: { width: 390, height: 844 } }],
]) {
  test(`every view is accessible: ${name}`, async () => {
    const own = await open(options);
    for (const one of VIEWS.filter((one) => name !== "narrow" || ["overview", "breakers", "book"].includes(one))) {
      await view(one, own);
      await own.waitForTimeout(400);
      await own.screenshot({ path: join(shots, `${one}-${name}.png`) });
      await own.evaluate(axe);
      const found = await own.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] }));
      const wrong = found.violations.map((rule) => `${rule.id}: ${rule.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`);
      assert.deepEqual(wrong, [], one);
      const wide = await own.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(wide <= 1, `${one} is ${wide} px too wide`);
    }
    await own.context().close();
  });
}

test("ladder, heat-map and charts are drawn", async () => {
  await view("book");
  await page.waitForTimeout(2500);
  const colours = await page.evaluate(() => {
    const canvas = document.querySelector("#view-book canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const seen = new Set();
    for (let at = 0; at < data.length; at += 4) seen.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
    return seen.size;
  });
  assert.ok(colours > 20, `${colours} colours`);
  await agree("best bid", () => page.evaluate(() => {
    const cells = [...document.querySelectorAll("#view-book .bookgrid tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent));
    const bid = cells.find((row) => row[0] !== "" && row.length === 3);
    return bid ? Number(bid[1].replaceAll(",", "")) : null;
  }), async () => (await state(`/api/state/book/${await page.inputValue("#instrument")}`))?.bids[0][0]);
  const pace = await page.evaluate(async () => {
    window.tidegate.resetPace();
    await new Promise((done) => setTimeout(done, 3000));
    return window.tidegate.pace();
  });
  console.log(`frames a second while the book is drawn, beside the engine's debug build: ${pace.fps.toFixed(1)}`);
  assert.ok(pace.fps > 5);
});

test("how models were trained is drawn, a curve at a time", async () => {
  await view("models");
  const picker = page.getByLabel("Curve");
  await page.waitForFunction(() => document.querySelectorAll("#view-models select")[1].options.length > 5, null, { timeout: 20000 });
  const names = await picker.locator("option").allTextContents();
  for (const model of ["breaker-tuner 1", "direction-lstm 1", "liquidity 1"]) assert.ok(names.some((name) => name.startsWith(`${model}: `)), names.join());
  const drawn = async () => {
    await page.waitForTimeout(300);
    return page.evaluate(() => {
      const canvas = document.querySelectorAll("#view-models .chart canvas")[1];
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const style = getComputedStyle(document.documentElement);
      const near = (name) => {
        const [red, green, blue] = style.getPropertyValue(`--${name}`).match(/[0-9a-f]{2}/g).map((two) => parseInt(two, 16));
        let count = 0;
        for (let at = 0; at < data.length; at += 4) {
          count += Math.abs(data[at] - red) + Math.abs(data[at + 1] - green) + Math.abs(data[at + 2] - blue) < 30 && data[at + 3] > 128;
        }
        return count;
      };
      return { training: near("one"), validation: near("two"), note: document.querySelectorAll("#view-models .age")[1].textContent };
    });
  };
  const pictures = [];
  for (const name of ["breaker-tuner 1: all targets", "liquidity 1: 30 s"]) {
    await picker.selectOption(name);
    const found = await drawn();
    pictures.push(found);
    assert.ok(found.training > 100 && found.validation > 100, JSON.stringify(found));
    assert.match(found.note, new RegExp(`loss of ${name}$`));
  }
  assert.notDeepEqual(pictures[0], pictures[1]);
});

test("a connection that was away has no holes in its logs", async () => {
  const own = await open();
  await own.context().setOffline(true);
  await own.evaluate(() => window.tidegate.link.signIn(""));
  await live(own, "DISCONNECTED");
  await page.waitForTimeout(4000);
  await own.context().setOffline(false);
  await live(own);
  await own.waitForTimeout(500);
  const numbers = await own.evaluate(() => Object.fromEntries(Object.entries(window.tidegate.link.logs).map(([name, log]) => [name, log.map((one) => one.number)])));
  for (const [name, all] of Object.entries(numbers)) {
    assert.deepEqual(all, all.map((_, at) => all[0] + at), name);
  }
  assert.ok(numbers.breaker.length > 0);
  await own.context().close();
});

test("an engine that stands still is called stale, by the page's own clock", async () => {
  engine.signal("SIGSTOP");
  await live(page, "STALE", 10000);
  const first = await page.textContent("#link");
  await page.waitForTimeout(1200);
  assert.notEqual(await page.textContent("#link"), first, "and its age grows");
  engine.signal("SIGCONT");
  await live(page);
});

test("an engine that dies is called disconnected; the one after it is shown without a trace of it", async () => {
  const before_ = await page.evaluate(() => window.tidegate.link.logs.breaker.at(-1)?.wall_ns ?? 0);
  await engine.stop("SIGKILL");
  await live(page, "DISCONNECTED", 10000);
  await engine.start(engine.port);
  await live(page, "LIVE", 30000);
  const old = await page.evaluate((before_) => window.tidegate.link.logs.breaker.filter((one) => one.wall_ns <= before_).length, before_);
  assert.equal(old, 0);
  assert.equal(await page.evaluate(() => window.tidegate.link.value("engine").data.pid), engine.process.pid);
});

test("the engine ends in order, and says so", async () => {
  const code = await engine.stop("SIGINT");
  assert.equal(code, 130, engine.errors);
  await live(page, "DISCONNECTED", 10000);
  assert.deepEqual(complaints, []);
  assert.deepEqual(held.wrong, []);
  console.log(`messages held to the schema: ${held.counts.server} of the server, ${held.counts.client} of clients, topics ${[...held.topics].sort().join(" ")}`);
  assert.ok(held.counts.server > 1000 && held.counts.client > 5);
  for (const topic of ["engine", "price", "book", "features", "breakers", "latency", "models", "risk", "audit", "breaker", "threshold", "operator", "model"]) {
    assert.ok(held.topics.has(topic), topic);
  }
});

// A market of its own, fast enough that timers end while one looks.
const SIGNALS = `
[ml_microstructure]
enabled = true
confidence = "model"
min_confidence = 0.0
[superp]
max_leverage = 50
[trading]
enabled = true
balance = 1000000
max_positions = 24
`;

test("signals, how often they came true, and what trading them on paper brought are shown", async () => {
  const other = await new Engine({ thin: true, seconds: 3000, speed: 60, more: SIGNALS }).start();
  try {
    const on = await open({}, other.url);
    await view("features", on);
    const rows = (caption) => on.evaluate((caption) => {
      const table = [...document.querySelectorAll("#view-features table")].find((one) => one.caption?.textContent.startsWith(caption));
      return [...(table?.tBodies[0].rows ?? [])].map((row) => [...row.cells].map((cell) => cell.textContent));
    }, caption);
    const until = async (caption, good, patience = 60000) => {
      for (const end = Date.now() + patience; Date.now() < end; await on.waitForTimeout(200)) {
        const found = (await rows(caption)).filter((row) => row.length > 1 && good(row));
        if (found.length) return found;
      }
      assert.fail(`${caption}: ${JSON.stringify(await rows(caption))}`);
    };
    const signals = await until("Signals", ([, coin, action]) => coin === "BTC" && action === "LONG");
    assert.match(signals[0][6], /^(formula|confidence 1)/, "who states it");
    // Ten minutes of the market are ten seconds.
    const bins = await until("Stated confidence", ([, , cases]) => Number(cases) > 0);
    assert.ok(bins.every(([, , , stated, observed]) => Number(stated) >= 0 && Number(observed) >= 0 && Number(observed) <= 1), JSON.stringify(bins));
    const ended = await until("Paper positions", (row) => row[7] === "timer");
    assert.ok(ended.every((row) => /^-?[0-9.]+$/.test(row[8])), JSON.stringify(ended));
    const text = await on.evaluate(() => document.getElementById("view-features").textContent);
    assert.match(text, /Formula: stated 0\.[0-9]+, observed [0-9.]+ in [0-9,]+ cases/);
    assert.match(text, /Paper account: [0-9.,]+ of 1,?000,?000 at first/);
    assert.match(text, /lost on trial 0, no better when trained 0/);
    await on.screenshot({ path: join(shots, "signals.png"), fullPage: true });
    const metrics = await (await fetch(`${other.url}/metrics`)).text();
    assert.match(metrics, /tidegate_signals_total\{[^}]*action="LONG"/);
    for (const topic of ["psc", "calibration", "paper"]) assert.ok(held.topics.has(topic), topic);
    assert.deepEqual([complaints, held.wrong], [[], []]);
    await on.context().close();
  } finally {
    await other.stop();
    other.remove();
  }
});
