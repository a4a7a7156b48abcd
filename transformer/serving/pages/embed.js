// The page of vectors: sends what is typed, shows which texts are most like the first. Texts become text nodes only.

import { clean, element, post, remembered, sendByKeys } from "./elements.js";

const GONE = "The server does not answer. Your text stays here: press Compare when the server runs again.";
const STRANGER = "What answered is not the embedding server. Is the server running? Your text stays here.";

const [form, query, texts, status, results] = ["form", "query", "texts", "status", "results"].map((id) =>
  document.getElementById(id),
);
const know = remembered(begin); // what the server says of itself
let running = new AbortController();

function tell(message, wrong = false) {
  status.textContent = message;
  status.classList.toggle("wrong", wrong);
  results.classList.toggle("stale", wrong);
}

async function begin() {
  const told = await (await fetch("health")).json();
  document.getElementById("about").textContent = `${told.size} numbers a text: ${told.run.join(", ")}`;
  document.title = `Compare: ${told.run.join(", ")}`;
  return told;
}

async function compare() {
  running.abort(); // the server drops what it has not begun
  const asked = clean(query.value).trim();
  const others = clean(texts.value).split("\n").map((line) => line.trim()).filter(Boolean);
  if (!asked || !others.length) {
    results.replaceChildren();
    return tell(asked || others.length ? "Write a text above, and texts to compare it with below." : "");
  }
  running = new AbortController();
  const { signal } = running;
  results.ariaBusy = "true";
  tell("Reading\u2026");
  const failed = await send([asked, ...others], signal);
  if (failed === null) return; // another one has taken its place
  results.ariaBusy = "false";
  tell(failed, failed !== "");
}

// Show how like the first text the others are; returns "", or in words why not, or null where it was aborted.
async function send(all, signal) {
  const body = async () => {
    await know();
    return { texts: all };
  };
  const words = { gone: GONE, stranger: STRANGER };
  const { answer, failed } = await post("embed", body, "embeddings", signal, words);
  if (!answer) return failed;
  const [first, ...others] = answer.embeddings;
  const told = answer.embeddings.flatMap(({ text, warnings }) => warnings.map((words) => `${text}: ${words}`));
  results.replaceChildren(card(first, others, told));
  return "";
}

function card(first, others, told) {
  const rows = others.map((other) => ({ text: other.text, cosine: product(first.vector, other.vector) }));
  rows.sort((one, other) => other.cosine - one.cosine);
  const list = element("dl", { className: "labels" });
  for (const { text, cosine } of rows) {
    list.append(
      element("dt", { dir: "auto" }, text),
      element("dd", {}, element("meter", { min: 0, max: 1, value: cosine, ariaLabel: text })),
      element("dd", {}, cosine.toFixed(3)),
    );
  }
  const warnings = told.map((words) => element("p", { className: "warnings" }, words));
  const flow = element("p", { className: "flow source", dir: "auto" }, first.text);
  return element("article", { className: "card" }, ...warnings, flow, list);
}

function product(one, other) {
  return one.reduce((sum, number, i) => sum + number * other[i], 0);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  compare();
});
sendByKeys(form, form);

know().then(
  () => query.value && compare(),
  () => tell(GONE, true),
);
