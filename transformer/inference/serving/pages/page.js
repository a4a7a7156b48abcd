// The page: sends what is typed, shows translations, hypotheses and attention. Texts become text nodes only.

import { attentionView, element, readsAs } from "./attention.js";

const PAUSE = 500; // milliseconds without a key after which the text is translated

const form = document.getElementById("form");
const text = document.getElementById("text");
const nBest = document.getElementById("n-best");
const beamSize = document.getElementById("beam-size");
const status = document.getElementById("status");
const results = document.getElementById("results");
const languages = { source: "", target: "" };
let timer = 0;
let running = new AbortController();
let cards = 0;

function tell(message, wrong = false) {
  status.textContent = message;
  status.classList.toggle("wrong", wrong);
}

function languageName(code) {
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code);
  } catch {
    return code;
  }
}

async function begin() {
  const health = await (await fetch("health")).json();
  languages.source = health.source_language;
  languages.target = health.target_language;
  text.lang = languages.source;
  if (languages.source && languages.target) {
    const names = `${languageName(languages.source)} to ${languageName(languages.target)}`;
    document.getElementById("languages").textContent = names;
    document.title = `Translate ${names}`;
  }
  beamSize.max = nBest.max = health.limits.max_beam;
  beamSize.value = health.beam_size;
  nBest.value = Math.min(4, health.beam_size);
}

async function translate() {
  clearTimeout(timer);
  running.abort(); // the server drops what it has not begun
  running = new AbortController();
  const { signal } = running;
  const sentences = text.value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (!sentences.length) {
    results.replaceChildren();
    results.ariaBusy = "false";
    tell("");
    return;
  }
  results.ariaBusy = "true";
  tell("Translating\u2026");
  const begun = performance.now();
  try {
    const response = await fetch("translate", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        sentences,
        n_best: nBest.valueAsNumber,
        beam_size: beamSize.valueAsNumber,
        attention: true,
      }),
      signal,
    });
    const answer = await response.json();
    if (response.ok) {
      results.replaceChildren(...answer.translations.map((entry) => card(entry, sentences.length === 1)));
      tell(`${((performance.now() - begun) / 1000).toFixed(2)} s`);
    } else {
      tell(answer.error, true);
    }
  } catch (error) {
    if (signal.aborted) return; // another translation has taken its place
    tell(`No answer from the server (${error.message}).`, true);
  }
  results.ariaBusy = "false";
}

function copyButton(copied) {
  const button = element("button", { type: "button", className: "quiet" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(copied());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed"; // by the browser: the page is not on this machine and not encrypted
    }
  });
  return button;
}

function plain(content, className, language) {
  return element("p", { className: `flow ${className}`, dir: "auto", lang: language }, content);
}

function card(entry, alone) {
  const lines = element("div");
  const map = element("div");
  let chosen;

  function choose(hypothesis) {
    const open = map.querySelector("details")?.open ?? alone;
    const text = plain(hypothesis.text, "target", languages.target);
    chosen = hypothesis;
    if (!hypothesis.attention) {
      lines.replaceChildren(plain(entry.source, "source", languages.source), text);
      map.replaceChildren();
      return;
    }
    const view = attentionView(entry.source_tokens, hypothesis, languages, open);
    lines.replaceChildren(...view.lines);
    if (!readsAs(hypothesis.tokens, hypothesis.text)) view.lines[1].before(text);
    map.replaceChildren(view.map);
  }

  choose(entry.hypotheses[0]);
  const parts = [lines];
  if (entry.warnings.length) {
    parts.unshift(element("ul", { className: "warnings" }, ...entry.warnings.map((told) => element("li", {}, told))));
  }
  parts.push(copyButton(() => chosen.text));
  if (entry.hypotheses.length > 1) parts.push(hypothesisList(entry.hypotheses, choose));
  return element("article", { className: "card" }, ...parts, map);
}

function hypothesisList(hypotheses, choose) {
  const name = `hypotheses-${(cards += 1)}`;
  const labels = hypotheses.map((hypothesis, place) => {
    const radio = element("input", { type: "radio", name, checked: place === 0 });
    radio.addEventListener("change", () => choose(hypothesis));
    const words = element("span", { className: "text", dir: "auto", lang: languages.target }, hypothesis.text || "\u2205");
    const score = element("span", { className: "score", title: "penalised log-probability" }, hypothesis.score.toFixed(3));
    return element("label", {}, radio, words, score);
  });
  return element("fieldset", {}, element("legend", { className: "label" }, "Hypotheses, best first"), ...labels);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  translate();
});
form.addEventListener("input", (event) => {
  if (event.target !== text) {
    const [changed, other] = event.target === nBest ? [nBest, beamSize] : [beamSize, nBest];
    // No more hypotheses than the beam holds: the field that was not touched follows.
    if (nBest.valueAsNumber > beamSize.valueAsNumber) other.value = changed.value;
  }
  clearTimeout(timer);
  if (form.checkValidity()) timer = setTimeout(translate, PAUSE);
});
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});

begin().catch(() => tell("The server does not answer.", true));
