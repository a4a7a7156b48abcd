// A sentence and its translation as words that show where each looks, and the map of all weights.

import { element } from "./elements.js";

const SPACE = "\u2581"; // SentencePiece writes it before a word
const BYTE = /^<0x([0-9A-F]{2})>$/; // a piece of a character that SentencePiece does not know, in UTF-8
const FULL_STOP = /[\u3002\uff01\uff1f]$/; // after these no space stands before the next sentence
const MOST_CELLS = 20000; // of a map; a larger one would be slow and unreadable

export const TOUCHED = matchMedia("(hover: none)").matches; // by a finger, which cannot point at a thing without pressing
const HINT = TOUCHED
  ? "Tap a word to see where it looks."
  : "Hover over a word, or move to one with Tab and arrow keys, to see where it looks.";

export const NO_WORDS = "(no words)"; // in place of an empty translation

// Return [{name, text, space, edge, more}]: what each piece is called, its text, whether a space stands before it,
// whether it is no text but the start or end of a sentence, and whether it belongs to the character before it.
function read(pieces) {
  const marked = pieces.some((piece) => piece.startsWith(SPACE));
  const found = pieces.map((piece, place) => {
    if (piece === "[start]" || piece === "[end]") return edge(piece.slice(1, -1)); // between two sentences
    if (piece === SPACE) return { name: "\u2423", text: "\u00a0", space: place > 0 }; // a piece of its own
    const begins = marked ? piece.startsWith(SPACE) : !piece.startsWith("##"); // the second as WordPiece has it
    const text = piece.replace(marked ? /^\u2581/ : /^##/, "");
    return { name: text, text, space: begins && place > 0 && !BYTE.test(piece) };
  });
  const bytes = pieces.map((piece) => parseInt(piece.match(BYTE)?.[1], 16));
  for (let first = 0; first < bytes.length; first += 1) {
    if (Number.isNaN(bytes[first])) continue;
    const length = bytes[first] < 0xc0 ? 1 : bytes[first] < 0xe0 ? 2 : bytes[first] < 0xf0 ? 3 : 4; // as UTF-8 has it
    const character = bytes.slice(first, first + length);
    const others = character.slice(1).findIndex((byte) => !(byte >= 0x80 && byte < 0xc0)); // where it is cut off
    const pieces = found.slice(first, first + (others < 0 ? character.length : others + 1));
    pieces[0].text = new TextDecoder().decode(Uint8Array.from(character.slice(0, pieces.length)));
    for (const piece of pieces.slice(1)) Object.assign(piece, { text: "", more: true });
    first += pieces.length - 1;
  }
  return found;
}

function edge(name) {
  return { name, text: "", space: false, edge: true };
}

// Return whether pieces read as a text does, spaces apart.
export function readsAs(pieces, text) {
  const shown = read(pieces).map((piece) => piece.text);
  return shown.join("").replace(/\s/g, "") === text.replace(/\s/g, "");
}

// Return where words begin in a text, as a set; with the browser's dictionaries, since not all scripts write spaces.
function beginnings(text, language) {
  if (!Intl.Segmenter) return new Set([...text.matchAll(/\S+|\s+/g)].map(({ index }) => index));
  const segmenter = new Intl.Segmenter(language || undefined, { granularity: "word" });
  return new Set([...segmenter.segment(text)].map(({ index }) => index));
}

// Return pieces put together as words, [{name, text, space, edge, places}]: those of pieces that share a word.
function words(pieces, language) {
  const text = pieces.map(({ text, space, edge }) => (edge ? "\n" : (space ? " " : "") + text)).join("");
  const begins = beginnings(text, language);
  const found = [];
  let offset = 0;
  pieces.forEach(({ name, text, space, edge, more }, place) => {
    const [before, last] = [pieces[place - 1], found.at(-1)];
    offset += Number(space);
    // A space that is a piece of its own belongs to the word after it.
    if (last && !last.edge && !edge && (more || !begins.has(offset) || before.text === "\u00a0")) {
      last.text += text;
      last.name = last.text.trim() || last.name;
      last.places.push(place);
    } else {
      found.push({ name: text.trim() || name, text, space: space && !FULL_STOP.test(lastText(found)), edge, places: [place] });
    }
    offset += edge ? 1 : text.length;
  });
  return found;
}

function lastText(found) {
  return found.at(-1)?.edge ? found.findLast((word) => !word.edge)?.text ?? "" : "";
}

// Return how much each row of words looks at each column: summed over the pieces read, mean over those written.
function joined(rows, columns, weights) {
  return rows.map((row) =>
    columns.map((column) => {
      const sums = row.places.map((place) => column.places.reduce((sum, other) => sum + weights[place][other], 0));
      return sums.reduce((sum, one) => sum + one, 0) / sums.length;
    }),
  );
}

// Return a line of words and, for each of them, its element or, for start and end, null.
function flow(shown, label, className, language) {
  const line = element("p", { className: `flow ${className}`, dir: "auto", lang: language });
  if (shown.some((word) => !word.edge)) {
    line.setAttribute("role", "listbox");
    line.setAttribute("aria-orientation", "horizontal");
    line.setAttribute("aria-label", label);
  }
  const tokens = shown.map(({ text, space, edge }) => {
    if (edge) return null;
    const token = element("span", { className: "token", tabIndex: -1 }, text.trim() || "\u00a0");
    token.setAttribute("role", "option");
    token.setAttribute("aria-selected", "false");
    if (space && line.hasChildNodes()) line.append(" ");
    line.append(token);
    return token;
  });
  const first = tokens.find(Boolean);
  if (first) first.tabIndex = 0;
  else line.append(NO_WORDS);
  return { line, tokens };
}

// Arrow keys, Home and End move along the words of a line; Tab leaves it.
function onKey(event, every) {
  const tokens = every.filter(Boolean);
  const place = tokens.indexOf(event.target);
  const ahead = getComputedStyle(event.currentTarget).direction === "rtl" ? "ArrowLeft" : "ArrowRight";
  const back = ahead === "ArrowLeft" ? "ArrowRight" : "ArrowLeft";
  const goal = { [ahead]: place + 1, [back]: place - 1, Home: 0, End: tokens.length - 1 }[event.key];
  if (place < 0 || goal === undefined) return;
  event.preventDefault();
  const next = tokens[Math.max(0, Math.min(tokens.length - 1, goal))];
  for (const token of tokens) token.tabIndex = token === next ? 0 : -1;
  next.focus();
}

function percent(weight) {
  return `${Math.round(100 * weight)}\u00a0%`;
}

// Isolated, so that a word of another direction does not turn the words around it.
function quoted({ name, edge }) {
  return edge ? `the ${name}` : `\u2068\u201c${name}\u201d\u2069`;
}

function describe(word, verb, others, weights) {
  const best = weights
    .map((weight, other) => [weight, others[other]])
    .filter(([weight]) => weight >= 0.05)
    .sort((one, two) => two[0] - one[0])
    .slice(0, 4)
    .map(([weight, other]) => `${quoted(other)} ${percent(weight)}`);
  const told = `${quoted(word)} ${verb} ${best.join(", ") || "nothing in particular"}`;
  return told[0].toUpperCase() + told.slice(1);
}

function map(rows, columns, weights) {
  const head = (scope, { name, edge }, content) =>
    element("th", { scope, title: edge ? `the ${name}` : name, className: edge ? "edge" : "" }, content);
  const names = columns.map((column) => head("col", column, element("span", {}, column.name)));
  const cells = [];
  const body = rows.map((line, row) => {
    cells.push(
      weights[row].map((weight, column) => {
        const title = `${quoted(line)}, ${quoted(columns[column])}: ${percent(weight)}`;
        const cell = element("td", { title }, weight >= 0.01 ? String(Math.round(100 * weight)) : "");
        cell.style.setProperty("--weight", weight);
        return cell;
      }),
    );
    return element("tr", {}, head("row", line, line.name), ...cells[row]);
  });
  const table = element(
    "table",
    {},
    element("thead", {}, element("tr", {}, element("th"), ...names)),
    element("tbody", {}, ...body),
  );
  table.setAttribute("aria-label", "Attention in percent: a row for each token written, a column for each token read");
  return { table, cells, names, body };
}

// Return a box that scrolls sideways, and around it one that shows at which sides more is hidden.
function scroller(label) {
  const inner = element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: label });
  const outer = element("div", { className: "scroller" }, inner);
  function hint() {
    const passed = Math.abs(inner.scrollLeft); // negative where the text goes from right to left
    outer.classList.toggle("more-before", passed > 1);
    outer.classList.toggle("more-after", passed + inner.clientWidth < inner.scrollWidth - 1);
  }
  inner.addEventListener("scroll", hint, { passive: true });
  new ResizeObserver(hint).observe(inner);
  return { inner, outer };
}

// Return the elements of one hypothesis: its lines (source, translation, caption) and its map.
export function attentionView(sourcePieces, hypothesis, languages, open) {
  const columns = [edge("start"), ...read(sourcePieces), edge("end")];
  const rows = [...read(hypothesis.tokens), ...(hypothesis.finished ? [edge("end")] : [])];
  const sourceWords = words(columns, languages.source);
  const targetWords = words(rows, languages.target);
  const weights = joined(targetWords, sourceWords, hypothesis.attention);
  const source = flow(sourceWords, "Source words", "source", languages.source);
  const target = flow(targetWords, "Translated words", "target", languages.target);
  const caption = element("p", { className: "caption" }, HINT);
  caption.setAttribute("aria-live", "polite");
  let drawn = null;

  // Show what a word of the translation looks at or, where that is null, by which words one of the source is looked at.
  // Both where one cell of the map is pointed at.
  function show(row, column) {
    const byRow = row !== null;
    target.tokens.forEach((token, place) => mark(token, place === row, byRow ? 0 : weights[place][column]));
    source.tokens.forEach((token, place) => mark(token, place === column, byRow ? weights[row][place] : 0));
    const [active, across] = [targetWords[row]?.places ?? [], sourceWords[column]?.places ?? []];
    drawn?.body.forEach((line, place) => line.classList.toggle("active", active.includes(place)));
    drawn?.names.forEach((name, place) => name.classList.toggle("active", across.includes(place)));
    drawn?.cells.forEach((line) =>
      line.forEach((cell, place) => cell.classList.toggle("active", across.includes(place))),
    );
    caption.textContent = byRow
      ? describe(targetWords[row], "looks at", sourceWords, weights[row])
      : describe(sourceWords[column], "is looked at by", targetWords, weights.map((line) => line[column]));
  }

  function mark(token, active, weight) {
    token?.classList.toggle("active", active);
    token?.setAttribute("aria-selected", String(active));
    token?.style.setProperty("--weight", weight);
  }

  for (const [{ line, tokens }, choose] of [
    [target, (place) => show(place, null)],
    [source, (place) => show(null, place)],
  ]) {
    for (const name of ["pointerover", "focusin"]) {
      line.addEventListener(name, (event) => {
        const place = tokens.indexOf(event.target);
        if (place >= 0) choose(place);
      });
    }
    line.addEventListener("keydown", (event) => onKey(event, tokens));
  }

  const { inner, outer } = scroller("Attention map");
  const details = element("details", { open }, element("summary", {}, "Attention map"), outer);
  function draw() {
    if (drawn || !details.open) return;
    if (rows.length * columns.length > MOST_CELLS) {
      inner.textContent = `A map of ${rows.length} by ${columns.length} tokens is too large to show.`;
      return;
    }
    drawn = map(rows, columns, hypothesis.attention);
    outer.dir = getComputedStyle(source.line).direction;
    const wordOf = (list, place) => list.findIndex(({ places }) => places.includes(place));
    drawn.cells.forEach((cells, row) =>
      cells.forEach((cell, column) =>
        cell.addEventListener("pointerover", () => show(wordOf(targetWords, row), wordOf(sourceWords, column))),
      ),
    );
    inner.append(drawn.table);
  }
  details.addEventListener("toggle", draw); // also told once, after it was added, where it is open from the start
  return { lines: [source.line, target.line, caption], map: details };
}
