// The page of a language model: sends a prompt and shows how it goes on, as it comes. Texts become text nodes only.

import { clean, copyButton, element, remembered, sendByKeys } from "./elements.js";
import { answerProblem, characterProblem, numberProblem, STRANGER } from "./problems.js";

const GONE = "The server does not answer. Your prompt stays here: press Continue when the server runs again.";
const CUT = "The answer ended before it was complete; what came is shown.";
const REASONS = {
  end: "The text ends here.",
  length: "Cut at the longest length: raise Tokens for more.",
  context: "The model can read no more.",
};

const form = document.getElementById("form");
const text = document.getElementById("text");
const status = document.getElementById("status");
const stopButton = document.getElementById("stop");
const results = document.getElementById("results");
const fields = {
  max_tokens: { name: "Tokens", input: document.getElementById("max-tokens"), whole: true },
  temperature: { name: "Temperature", input: document.getElementById("temperature") },
  top_p: { name: "Top-p", input: document.getElementById("top-p") },
  samples: { name: "Samples", input: document.getElementById("samples"), whole: true },
};
let limits = {};
const know = remembered(begin); // what the server says of itself
let running = new AbortController();

function tell(message, wrong = false) {
  status.textContent = message;
  status.classList.toggle("wrong", wrong);
}

async function begin() {
  const health = await (await fetch("health")).json();
  limits = health.limits ?? {};
  document.getElementById("run").textContent = (health.run ?? []).join(", ");
  fields.max_tokens.input.max = limits.max_tokens ?? "";
  fields.samples.input.max = limits.max_beam ?? "";
}

// Return what is wrong with the fields, in words, or ""; the fields are marked.
function problem() {
  const found = Object.values(fields).map((field) => {
    const told = numberProblem(field);
    field.input.setAttribute("aria-invalid", String(told !== ""));
    return told;
  });
  found.unshift(characterProblem("The prompt", clean(text.value), limits));
  text.setAttribute("aria-invalid", String(found[0] !== ""));
  if (fields.temperature.input.valueAsNumber === 0 && fields.samples.input.valueAsNumber > 1) {
    found.push("Several samples need a temperature above 0");
  }
  return found.filter(Boolean).join(". ");
}

function busy(works) {
  stopButton.hidden = !works;
  results.ariaBusy = String(works);
}

async function generate() {
  running.abort();
  const wrong = problem();
  if (wrong) return tell(wrong, true);
  const request = { prompts: [clean(text.value)], stream: true };
  for (const [name, { input }] of Object.entries(fields)) request[name] = input.valueAsNumber;
  request.seed = Math.floor(Math.random() * 2 ** 31); // another text each time
  const { signal } = (running = new AbortController());
  const cards = Array.from({ length: request.samples }, () => card(request.prompts[0]));
  busy(true);
  tell("Writing\u2026");
  const begun = performance.now();
  let failed;
  try {
    failed = await send(request, cards, signal);
  } catch {
    failed = GONE;
  }
  if (signal.aborted && signal !== running.signal) return; // another text has taken its place
  busy(false);
  if (signal.aborted) return tell("Stopped.");
  if (failed) return tell(failed, true);
  tell(`Written in ${((performance.now() - begun) / 1000).toFixed(1)} s`);
}

// Show the texts of a request as they come; returns "", or in words what went wrong.
async function send(request, cards, signal) {
  let response;
  try {
    await know();
    response = await fetch("generate", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(request),
      signal,
    });
    if (!response.ok) return answerProblem(response, await response.json(), [], request);
  } catch (error) {
    return error instanceof SyntaxError ? STRANGER : GONE;
  }
  results.replaceChildren(...cards.map(({ article }) => article));
  try {
    for await (const line of lines(response.body)) {
      if (line.error) return `The server says: ${line.error}`;
      if (line.texts) return finish(line.texts[0], cards);
      cards[line.sample]?.add(line.text);
    }
  } catch (error) {
    if (error instanceof SyntaxError) return STRANGER;
  }
  return CUT;
}

// Yield the objects of a body of JSON lines.
async function* lines(body) {
  let rest = "";
  for await (const piece of body.pipeThrough(new TextDecoderStream())) {
    const found = (rest + piece).split("\n");
    rest = found.pop();
    for (const line of found) yield JSON.parse(line);
  }
}

function finish(answer, cards) {
  answer.samples.forEach((sample, number) => cards[number]?.end(sample, answer.warnings));
  return "";
}

function card(prompt) {
  const written = element("span", { className: "written" });
  const whole = element("p", { className: "flow text", dir: "auto" }, element("span", { className: "prompt" }, prompt), written);
  const note = element("p", { className: "caption" });
  const article = element("article", { className: "card" }, whole, note, copyButton(() => whole.textContent));
  function end({ text, reason, log_probability, tokens }, warnings) {
    written.textContent = text;
    const sure = tokens.length ? `${Math.exp(log_probability / tokens.length).toFixed(2)} mean probability of a token` : "";
    note.textContent = [REASONS[reason] ?? "", sure].filter(Boolean).join(" ");
    if (warnings.length) {
      whole.before(element("ul", { className: "warnings" }, ...warnings.map((told) => element("li", {}, told))));
    }
  }
  return { article, add: (piece) => written.append(piece), end };
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  generate();
});
form.addEventListener("input", () => {
  const wrong = problem();
  if (wrong || status.classList.contains("wrong")) tell(wrong, wrong !== "");
});
stopButton.addEventListener("click", () => running.abort());
sendByKeys(text, form);

know().catch(() => tell(GONE, true));
