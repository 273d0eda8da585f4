// The real engine on a simulated market, for tests that look at it through a browser.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync, readdirSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");
const binary = process.env.TIDEGATE ?? join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), "debug/tidegate");

export async function freePort() {
  return new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

export class Engine {
  constructor(options = {}) {
    this.folder = mkdtempSync(join(tmpdir(), "tidegate-browser-"));
    this.speed = options.speed ?? 2;
    const [seconds, seed] = [options.seconds ?? 90, options.seed ?? 1];
    const market = options.thin ? ["--thin"] : [];
    execFileSync(binary, ["simulate", "--out", "market", "--seconds", `${seconds}`, "--seed", `${seed}`, ...market], { cwd: this.folder });
    const wanted = /^(usdm_btcusdt|spot_btcusdt|usdm_ethusdt)_sim\.gz$/;
    const files = readdirSync(join(this.folder, "market")).filter((name) => name.endsWith(".gz") && (options.thin || wanted.test(name)));
    const sources = files.map((name) => `[[sources]]\npath = "market/${name}"\n`);
    writeFileSync(join(this.folder, "tidegate.toml"), `${sources.join("")}
[replay]
speed = "${this.speed}"
repeat = true
[models]
directory = "${join(root, "onnx")}"
mode = "inline"
${options.more ?? `[[strategies]]
name = "basis"
instruments = ["BTCUSDT.binance-usdm", "BTCUSDT.binance-spot"]
[vmsp]
enabled = true
`}`);
  }

  async start(port) {
    this.port = port ?? (await freePort());
    this.url = `http://127.0.0.1:${this.port}`;
    this.errors = "";
    this.output = "";
    const args = ["run", "--config", "tidegate.toml", "--serve", `127.0.0.1:${this.port}`, "--log-format", "json"];
    this.process = spawn(binary, args, { cwd: this.folder, stdio: ["ignore", "pipe", "pipe"] });
    this.process.stderr.on("data", (data) => { this.errors += data; });
    this.process.stdout.on("data", (data) => { this.output += data; });
    this.ended = new Promise((done) => this.process.on("exit", (code, signal) => done(code ?? signal)));
    const until = Date.now() + 30000;
    for (;;) {
      try {
        const found = await this.get("/api/state/price");
        if (found.state.length > 2) return this;
      } catch { /* not yet */ }
      if (Date.now() > until) throw new Error(`the engine shows nothing: ${this.errors}`);
      await new Promise((done) => setTimeout(done, 100));
    }
  }

  get token() {
    return readFileSync(join(this.folder, "run/control.token"), "utf8").trim();
  }

  async get(path) {
    return (await fetch(this.url + path)).json();
  }

  // Everything durable in the audit log, by the engine's own command.
  audit() {
    const text = execFileSync(binary, ["audit", "export", "run/audit", "--as", "jsonl"], { cwd: this.folder, maxBuffer: 1 << 28 });
    return text.toString().trim().split("\n").map((line) => JSON.parse(line));
  }

  signal(name) {
    this.process.kill(name);
  }

  async stop(name = "SIGINT") {
    this.process.kill(name);
    return this.ended;
  }

  remove() {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
