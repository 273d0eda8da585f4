// How many frames a second the dashboard draws while the engine replays a market at ten times its pace.
//
//     bash tests/browser/run.sh && TIDEGATE=target/release/tidegate node tests/browser/pace.mjs
//
// Engine, browser (software rendering) and this program share the host's cores: with two of them this is the worst case.

import { chromium } from "playwright-core";
import { Engine } from "./engine.mjs";

const engine = await new Engine({ speed: 10, seconds: 300 }).start();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: ["--disable-dev-shm-usage"],
});
const page = await browser.newPage({ viewport: { width: 1400, height: 1000 } });
await page.goto(engine.url);
await page.waitForFunction(() => document.getElementById("link").textContent.includes("LIVE"));
console.log("view        frames/s   slowest of a hundred, ms   messages/s");
for (const view of ["overview", "breakers", "book", "features", "latency"]) {
  await page.evaluate((view) => { location.hash = view; }, view);
  await page.waitForTimeout(1500);
  const { fps, p99, messages } = await page.evaluate(async () => {
    const before = window.tidegate.link.counts.messages;
    window.tidegate.resetPace();
    await new Promise((done) => setTimeout(done, 5000));
    return { ...window.tidegate.pace(), messages: (window.tidegate.link.counts.messages - before) / 5 };
  });
  console.log(`${view.padEnd(12)}${fps.toFixed(1).padStart(8)}${p99.toFixed(1).padStart(27)}${messages.toFixed(0).padStart(13)}`);
}
await browser.close();
await engine.stop("SIGKILL");
engine.remove();
