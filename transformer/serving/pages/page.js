// The page: sends what is typed, shows translations, hypotheses and attention. Texts become text nodes only.

import { attentionView, NO_WORDS, readsAs, TOUCHED } from "./attention.js";
import { clean, copyButton, element, remembered, sendByKeys } from "./elements.js";
import { examplesIn, knownLanguage, languageName } from "./languages.js";
import { answerProblem, bodyProblem, fieldProblem, linesProblem, STRANGER } from "./problems.js";

const PAUSE = 500; // milliseconds without a key after which the text is translated
const GONE = "The server does not answer. Your text stays here: press Translate when the server runs again.";

const form = document.getElementById("form");
const text = document.getElementById("text");
const nBest = document.getElementById("n-best");
const beamSize = document.getElementById("beam-size");
const button = document.getElementById("translate");
const status = document.getElementById("status");
const examples = document.getElementById("examples");
const results = document.getElementById("results");
const languages = { source: "", target: "" };
let limits = {};
const know = remembered(begin); // what the server says of itself
let timer = 0;
let running = new AbortController();
let cards = 0;

function tell(message, wrong = false) {
  status.textContent = message;
  status.classList.toggle("wrong", wrong);
  results.classList.toggle("stale", wrong);
}

async function begin() {
  const health = await (await fetch("health")).json();
  languages.source = knownLanguage(health.source_language) ?? "";
  languages.target = knownLanguage(health.target_language) ?? "";
  limits = health.limits ?? {};
  text.lang = languages.source;
  const [source, target] = [languageName(health.source_language), languageName(health.target_language)];
  const names = source && target ? `${source} to ${target}` : (source && `from ${source}`) || (target && `to ${target}`);
  document.getElementById("languages").textContent = names;
  document.title = `Translate ${names}`.trim();
  // As defaults, which change no number that was typed meanwhile.
  beamSize.max = nBest.max = limits.max_beam ?? "";
  beamSize.defaultValue = health.beam_size ?? 4;
  nBest.defaultValue = Math.min(4, beamSize.defaultValue);
  showExamples(source, health.examples);
}

function showExamples(language, known) {
  const sentences = Array.isArray(known) && known.length ? known.map(String) : examplesIn(languages.source);
  const ask = language ? `Type a text in ${language}` : "Type a text";
  const buttons = sentences.map((sentence) => {
    const example = element("button", { type: "button", className: "quiet", dir: "auto", lang: languages.source }, sentence);
    example.addEventListener("click", () => {
      text.value = sentence;
      (TOUCHED ? button : text).focus(); // the example goes; on a phone, the text's keyboard would cover the results
      translate();
    });
    return example;
  });
  examples.replaceChildren(element("p", {}, sentences.length ? `${ask}, or try an example:` : `${ask}.`), ...buttons);
  examples.hidden = text.value.trim() !== "";
}

// Return what is to be translated, [{number, sentence}], numbered as the lines of the text.
function typed() {
  return text.value
    .split("\n")
    .map((line, place) => ({ number: place + 1, sentence: clean(line).trim() }))
    .filter(({ sentence }) => sentence);
}

// Return what is wrong with the fields, in words, or ""; the fields are marked.
function problem(lines) {
  const found = new Map([
    [text, linesProblem(lines, limits)],
    [nBest, fieldProblem("Hypotheses", nBest, limits)],
    [beamSize, fieldProblem("Beam", beamSize, limits)],
  ]);
  for (const [field, told] of found) field.setAttribute("aria-invalid", String(told !== ""));
  return [...found.values()].filter(Boolean).join(". ");
}

function stop() {
  clearTimeout(timer);
  running.abort(); // the server drops what it has not begun
  results.ariaBusy = "false";
}

async function translate() {
  stop();
  examples.hidden = text.value.trim() !== "";
  const lines = typed();
  const wrong = problem(lines);
  if (wrong) return tell(wrong, true);
  if (!lines.length) {
    results.replaceChildren();
    return tell("");
  }
  const [beam, wanted] = [beamSize.valueAsNumber, nBest.valueAsNumber];
  const request = {
    sentences: lines.map(({ sentence }) => sentence),
    n_best: Math.min(wanted, beam),
    beam_size: beam,
    attention: true,
  };
  const large = bodyProblem(request, limits);
  if (large) return tell(large, true);
  running = new AbortController();
  results.ariaBusy = "true";
  tell("Translating\u2026");
  const begun = performance.now();
  const failed = await send(request, lines, running.signal);
  if (failed === null) return; // another translation has taken its place
  results.ariaBusy = "false";
  if (failed) return tell(failed, true);
  const seconds = `Translated in ${((performance.now() - begun) / 1000).toFixed(2)} s`;
  tell(wanted > beam ? `${seconds}; only ${beam} of ${wanted} hypotheses: a beam of ${beam} holds no more` : seconds);
}

// Show the translations of a request; returns "", or in words why there are none, or null where it was aborted.
async function send(request, lines, signal) {
  let response, answer;
  try {
    await know();
    response = await fetch("translate", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(request),
      signal,
    });
    answer = await response.json();
  } catch (error) {
    if (signal.aborted) return null;
    return error instanceof SyntaxError ? STRANGER : GONE;
  }
  if (signal.aborted) return null;
  if (!response.ok) return answerProblem(response, answer, lines, request);
  if (!Array.isArray(answer?.translations)) return STRANGER;
  results.replaceChildren(...answer.translations.map((entry) => card(entry, lines.length === 1)));
  return "";
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
    const text = plain(hypothesis.text || NO_WORDS, "target", languages.target);
    chosen = hypothesis;
    lines.classList.toggle("unsure", hypothesis.unsure === true);
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
    const look = hypothesis.unsure === true ? "text unsure" : "text";
    const words = element("span", { className: look, dir: "auto", lang: languages.target }, hypothesis.text || NO_WORDS);
    const score = element("span", { className: "score", title: "penalised log-probability" }, hypothesis.score.toFixed(3));
    return element("label", {}, radio, words, score);
  });
  return element("fieldset", {}, element("legend", { className: "label" }, "Hypotheses, best first"), ...labels);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  translate();
});
form.addEventListener("input", () => {
  clearTimeout(timer);
  examples.hidden = text.value.trim() !== "";
  const wrong = problem(typed());
  if (wrong) {
    stop();
    tell(wrong, true);
  } else {
    if (status.classList.contains("wrong")) tell("");
    timer = setTimeout(translate, PAUSE);
  }
});
sendByKeys(text, form);

know().then(
  () => text.value && translate(), // typed before this script came, or kept by the browser
  () => tell(GONE, true),
);
