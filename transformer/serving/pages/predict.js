// The page of predictions: sends what is typed, shows labels, entities, answers and what fills masks. Texts become text nodes only.

import { clean, element, post, remembered, sendByKeys } from "./elements.js";

const GONE = "The server does not answer. Your text stays here: press Predict when the server runs again.";
const STRANGER = "What answered is not the prediction server. Is the server running? Your text stays here.";
const MOST_LABELS = 8; // of a text that are shown

const [form, context, text, status, results] = ["form", "context", "text", "status", "results"].map((id) =>
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
  document.getElementById("about").textContent = `${told.task}: ${told.run.join(", ")}`;
  document.title = `Predict: ${told.run.join(", ")}`;
  const pairs = told.inputs === 2;
  for (const part of [context, document.getElementById("context-label")]) part.hidden = !pairs;
  if (told.task === "question-answering") {
    document.getElementById("text-label").textContent = "Your question, one a line";
  } else if (told.task === "masked-lm") {
    document.getElementById("text-label").textContent = "Your text, one a line, with [MASK] for each token to be found";
  } else if (pairs) {
    document.getElementById("context-label").textContent = "The second text of each pair";
  }
  return told;
}

// Return the lines that hold something, without what no request may hold.
function typed() {
  return clean(text.value).split("\n").map((line) => line.trim()).filter(Boolean);
}

async function predict() {
  running.abort(); // the server drops what it has not begun
  const texts = typed();
  if (!texts.length) {
    results.replaceChildren();
    return tell("");
  }
  running = new AbortController();
  const { signal } = running;
  results.ariaBusy = "true";
  tell("Reading\u2026");
  const failed = await send(texts, signal);
  if (failed === null) return; // another one has taken its place
  results.ariaBusy = "false";
  tell(failed, failed !== "");
}

// Show the predictions of texts; returns "", or in words why there are none, or null where it was aborted.
async function send(texts, signal) {
  const body = async () => {
    const { inputs } = await know();
    return inputs === 2 ? { texts, context: clean(context.value) } : { texts };
  };
  const words = { gone: GONE, stranger: STRANGER };
  const { answer, failed } = await post("predict", body, "predictions", signal, words);
  if (!answer) return failed;
  results.replaceChildren(...answer.predictions.map(card));
  return "";
}

function card(entry) {
  const parts = [];
  if (entry.entities) {
    parts.push(flow(marked(entry.text, entry.entities), "target"));
  } else if (entry.masks) {
    const best = ({ start, end, candidates: [{ text, probability }] }) => ({ start, end, kind: text, probability });
    parts.push(flow(marked(entry.text, entry.masks.map(best)), "target"));
    for (const { candidates } of entry.masks) parts.push(bars(candidates.map((one) => [one.text, one.probability])));
  } else if ("question" in entry) {
    parts.push(flow([entry.question], "source"), flow([entry.answer?.text ?? "The text does not say."], "target"));
    parts.push(caption(`probability ${entry.probability.toFixed(3)}`));
    parts.push(flow(marked(context.value, entry.answer ? [entry.answer] : []), "context"));
  } else {
    parts.push(flow([(entry.texts ?? [entry.text]).join(" | ")], "source"));
    const rows = Object.entries(entry.probabilities ?? {});
    parts.push("value" in entry ? flow([entry.value.toFixed(3)], "target") : bars(rows, entry.labels));
  }
  for (const told of entry.warnings ?? []) parts.unshift(element("p", { className: "warnings" }, told));
  return element("article", { className: "card" }, ...parts);
}

function flow(content, className) {
  return element("p", { className: `flow ${className}`, dir: "auto" }, ...content);
}

function caption(words) {
  return element("p", { className: "caption" }, words);
}

// Return the nodes of a text in which places, {start, end, kind, probability}, are marked. Python counts code points.
function marked(whole, places) {
  const signs = [...whole];
  const nodes = [];
  let done = 0;
  for (const { start, end, kind, probability } of places) {
    const inside = element("mark", {}, signs.slice(start, end).join(""));
    if (kind) inside.append(element("span", { className: "kind", title: probability.toFixed(3) }, kind));
    nodes.push(signs.slice(done, start).join(""), inside);
    done = end;
  }
  return [...nodes, signs.slice(done).join("")];
}

function bars(rows, chosen = []) {
  const list = element("dl", { className: "labels" });
  for (const [label, probability] of rows.slice(0, MOST_LABELS)) {
    list.append(
      element("dt", { className: chosen.includes(label) ? "chosen" : "", dir: "auto" }, label),
      element("dd", {}, element("meter", { min: 0, max: 1, value: probability, ariaLabel: label })),
      element("dd", {}, probability.toFixed(3)),
    );
  }
  return list;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  predict();
});
sendByKeys(form, form);

know().then(
  () => text.value && predict(),
  () => tell(GONE, true),
);
