// What a person may ask the engine for: each asks once more, says what it will do, and shows what came of it.

import { element } from "./format.js";
import { ask, headers, signIn, token } from "./link.js";

const dialog = document.getElementById("dialog");
const title = document.getElementById("dialog-title");
const body = document.getElementById("dialog-body");
const result = document.getElementById("dialog-result");
const go = document.getElementById("dialog-go");
document.getElementById("dialog-cancel").addEventListener("click", () => dialog.close());

let act = null;
dialog.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const mine = act;
  if (!mine) return;
  go.disabled = true;
  result.dataset.state = "";
  result.textContent = "Asked…";
  try {
    const [done, text] = await mine(new FormData(event.target));
    // Another question may stand there now: this answer is not its.
    if (act !== mine) return;
    result.dataset.state = done ? "done" : "refused";
    result.textContent = text;
    if (done) go.hidden = true;
  } catch (error) {
    if (act !== mine) return;
    result.dataset.state = "refused";
    result.textContent = `No answer: ${error}`;
  }
  go.disabled = false;
});

function open(heading, parts, button, action) {
  title.textContent = heading;
  body.replaceChildren(...parts);
  [result.textContent, result.dataset.state] = ["", ""];
  [go.textContent, go.hidden, go.disabled, act] = [button, !action, false, action];
  dialog.showModal();
}

function field(label, name, properties = {}) {
  return element("label", {}, label, element("input", { name, required: true, autocomplete: "off", ...properties }));
}

// Asks for one thing, after a person has read what it does.
export function confirm(heading, effect, request, fields = []) {
  const parts = [element("p", {}, effect)];
  if (!token()) parts.push(element("p", { class: "warning" }, "You are not signed in: the engine will refuse this."));
  const inputs = fields.map(([label, name, properties]) => field(label, name, properties));
  open(heading, [...parts, ...inputs], "Do it", async (form) => {
    const answer = await ask(typeof request === "function" ? request(form) : request);
    return [answer.ok, answer.ok ? "Done. The audit log, where there is one, says who asked." : `Refused: ${answer.error}`];
  });
}

export function trip(scope) {
  confirm(
    `Trip the breaker of ${scope}`,
    `Trading on ${scope} stops at the engine's next event and stays stopped until somebody resets it. Open orders are
     not cancelled by a breaker: the kill switch does that.`,
    { do: "operate", instruction: `trip:${scope}` },
  );
}

export function reset(scope) {
  confirm(
    `Reset the breakers of ${scope}`,
    `Every breaker of ${scope} closes. One whose condition still holds trips again. A thrown kill switch is not reset.`,
    { do: "operate", instruction: `reset:${scope}` },
  );
}

export function kill(scope) {
  confirm(
    `Throw the kill switch of ${scope}`,
    `Every new order of ${scope} is refused, open orders are to be cancelled, the breaker trips. It holds through
     restarts until a designated person resets it.`,
    (form) => ({ do: "risk", ask: { what: "kill", scope, person: form.get("person") } }),
    [["Who you are", "person"]],
  );
}

export function revive(scope) {
  confirm(
    `Reset the kill switch of ${scope}`,
    `Orders of ${scope} are checked and let through again, and its breakers close.`,
    (form) => {
      const agreed = { designated: form.get("designated"), reason: form.get("reason") };
      if (form.get("risk")) agreed.risk = form.get("risk");
      return { do: "risk", ask: { what: "reset", scope, agreed } };
    },
    [["Designated person", "designated"], ["Of the risk function, where two are needed", "risk", { required: false }],
      ["Why", "reason"]],
  );
}

export function promote(name, version) {
  confirm(
    `Promote ${name} ${version}`,
    "It takes its place between two adjustments, without the rest of its time in shadow. The version before stays loaded.",
    { do: "model-promote", name, version },
  );
}

export function rollback(name) {
  confirm(
    `Roll ${name} back`,
    "The version before is in force at once. Where there is none, static profiles hold.",
    { do: "model-rollback", name },
  );
}

export function clearFeeds(venue) {
  confirm(
    `Let ${venue} try again`,
    "Connections in the error state dial again, from the first attempt on.",
    { do: "feeds-clear", venue },
  );
}

export async function verifyLog() {
  const answer = await ask({ do: "audit-verify" });
  if (!answer.ok) open("Verify the audit log", [element("p", {}, `Refused: ${answer.error}`)], "", null);
}

// Explains the incident that a trip belongs to.
export function explain(sequence, run) {
  const link = element("p", {});
  open(
    `Explain decision ${sequence}`,
    [element("p", {}, `The recorded input up to now runs through the same engine again, in a process of its own. That
      takes about as long as a replay at full speed.`), link],
    "Explain",
    async () => {
      const answer = await ask({ do: "postmortem", decision: sequence, run });
      if (!answer.ok) return [false, `Refused: ${answer.error}`];
      // Fetched, because a link carries no token.
      const report = await fetch(answer.report, { headers: headers() });
      const page = URL.createObjectURL(new Blob([await report.text()], { type: "text/html" }));
      link.replaceChildren(element("a", { href: page, target: "_blank" }, "Open the report"));
      return [true, answer.summary];
    },
  );
}

export function signInDialog() {
  open(
    "Sign in",
    [element("p", {}, "Changing something takes the control token, which is in the file that the engine named when it "
      + "started (control.token). It is kept in this tab until it is closed."),
    field("Token", "token", { type: "password" })],
    "Sign in",
    async (form) => {
      const given = form.get("token").trim();
      const answer = await fetch("/api/whoami", { headers: { Authorization: `Bearer ${given}` } });
      const found = await answer.json();
      if (!found.ok) return [false, "That is no token of this server."];
      signIn(given);
      return [found.may === "control", found.may === "control" ? "You may steer." : "You may see, and not steer."];
    },
  );
}

export function keysDialog() {
  const rows = [["1 … 9, 0", "views, in their order"], ["[ and ]", "instrument before, instrument after"],
    ["p", "hold the picture still, and go on"], ["t", "dark, light, as the system"], ["?", "this list"],
    ["Escape", "close"]];
  const list = element("dl", { class: "keys" });
  rows.forEach(([key, text]) => list.append(element("dt", {}, element("kbd", {}, key)), element("dd", {}, text)));
  open("Keys", [list], "", null);
}
