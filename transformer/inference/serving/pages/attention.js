// A sentence and its translation as tokens that show where each looks, and the map of all weights.

const BLANK = "\u2581"; // SentencePiece writes it before a word
const MOST_CELLS = 20000; // of a map; a larger one would be slow and unreadable

export const TOUCHED = matchMedia("(hover: none)").matches; // by a finger, which cannot point at a thing without pressing
export const NO_WORDS = "(no words)"; // in place of an empty translation

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Return [{name, text, blank}]: what each piece is called, its text, and whether a blank stands before it.
function words(pieces) {
  const marked = pieces.some((piece) => piece.startsWith(BLANK));
  return pieces.map((piece, place) => {
    if (piece === "[start]" || piece === "[end]") return edge(piece.slice(1, -1)); // between two sentences
    if (piece === BLANK) return { name: "\u2423", text: "\u00a0", blank: false }; // a blank that is a token of its own
    const begins = marked ? piece.startsWith(BLANK) : !piece.startsWith("##"); // the second as WordPiece has it
    const text = piece.replace(marked ? /^\u2581/ : /^##/, "");
    return { name: text, text, blank: begins && place > 0 };
  });
}

// Return whether pieces read as a text does, blanks apart.
export function readsAs(pieces, text) {
  const read = words(pieces).filter((word) => !word.edge);
  return read.map((word) => word.text).join("").replace(/\s/g, "") === text.replace(/\s/g, "");
}

function edge(name) {
  return { name, text: name, blank: true, edge: true };
}

function flow(shown, label, className, language) {
  const line = element("p", { className: `flow ${className}`, dir: "auto", lang: language });
  line.setAttribute("role", "listbox");
  line.setAttribute("aria-orientation", "horizontal");
  line.setAttribute("aria-label", label);
  const tokens = shown.map(({ text, blank, edge }, place) => {
    const token = element("span", { className: edge ? "token edge" : "token", tabIndex: -1 }, text);
    token.setAttribute("role", "option");
    token.setAttribute("aria-selected", "false");
    if (edge) token.dir = "ltr"; // so that these words do not decide the direction of the line
    if (blank || shown[place - 1]?.edge) line.append(" ");
    line.append(token);
    return token;
  });
  if (tokens.length) tokens[0].tabIndex = 0;
  return { line, tokens };
}

// Arrow keys, Home and End move along the tokens of a line; Tab leaves it.
function onKey(event, tokens) {
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
  return `${Math.round(100 * weight)} %`;
}

// Isolated, so that a word of another direction does not turn the words around it.
function quoted(name) {
  return `\u2068\u201c${name}\u201d\u2069`;
}

function describe(shown, place, others, weights, verb) {
  const best = weights
    .map((weight, other) => [weight, others[other].name])
    .filter(([weight]) => weight >= 0.05)
    .sort((one, two) => two[0] - one[0])
    .slice(0, 4)
    .map(([weight, name]) => `${quoted(name)} ${percent(weight)}`);
  return `${quoted(shown[place].name)} ${verb} ${best.join(", ") || "nothing in particular"}`;
}

function map(rows, columns, weights) {
  const names = columns.map(({ name }) => element("th", { scope: "col" }, element("span", {}, name)));
  const cells = [];
  const body = rows.map(({ name }, row) => {
    cells.push(
      weights[row].map((weight, column) => {
        const title = `${quoted(name)}, ${quoted(columns[column].name)}: ${percent(weight)}`;
        const cell = element("td", { title }, weight >= 0.01 ? String(Math.round(100 * weight)) : "");
        cell.style.setProperty("--weight", weight);
        return cell;
      }),
    );
    return element("tr", {}, element("th", { scope: "row" }, name), ...cells[row]);
  });
  const head = element("thead", {}, element("tr", {}, element("th"), ...names));
  const table = element("table", {}, head, element("tbody", {}, ...body));
  table.setAttribute("aria-label", "Attention in percent: a row for each token written, a column for each token read");
  return { table, cells, names, body };
}

// Return the elements of one hypothesis: its lines (source, translation, caption) and its map.
export function attentionView(sourcePieces, hypothesis, languages, open) {
  const columns = [edge("start"), ...words(sourcePieces), edge("end")];
  const rows = [...words(hypothesis.tokens), ...(hypothesis.finished ? [edge("end")] : [])];
  const weights = hypothesis.attention;
  const source = flow(columns, "Source tokens", "source", languages.source);
  const target = flow(rows, "Translation tokens", "target", languages.target);
  const caption = element("p", { className: "caption" }, "Point at a word, or move to one with Tab and arrow keys.");
  caption.setAttribute("aria-live", "polite");
  let drawn = null;

  // Show what the row-th token looks at, or by which tokens the column-th is looked at, or a cell of both.
  function show(row, column) {
    const byRow = row !== null;
    target.tokens.forEach((token, place) => mark(token, place === row, byRow ? 0 : weights[place][column]));
    source.tokens.forEach((token, place) => mark(token, place === column, byRow ? weights[row][place] : 0));
    drawn?.body.forEach((line, place) => line.classList.toggle("active", place === row));
    drawn?.names.forEach((name, place) => name.classList.toggle("active", place === column));
    drawn?.cells.forEach((of) => of.forEach((cell, place) => cell.classList.toggle("active", place === column)));
    caption.textContent = byRow
      ? describe(rows, row, columns, weights[row], "looks at")
      : describe(columns, column, rows, weights.map((of) => of[column]), "is looked at by");
  }

  function mark(token, active, weight) {
    token.classList.toggle("active", active);
    token.setAttribute("aria-selected", String(active));
    token.style.setProperty("--weight", weight);
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

  const scroll = element("div", { className: "scroll", tabIndex: 0 });
  const details = element("details", { open }, element("summary", {}, "Attention map"), scroll);
  function draw() {
    if (drawn || !details.open) return;
    if (rows.length * columns.length > MOST_CELLS) {
      scroll.textContent = `A map of ${rows.length} by ${columns.length} tokens is too large to show.`;
      return;
    }
    drawn = map(rows, columns, weights);
    drawn.table.dir = getComputedStyle(source.line).direction;
    drawn.cells.forEach((cells, row) =>
      cells.forEach((cell, column) => cell.addEventListener("pointerover", () => show(row, column))),
    );
    scroll.append(drawn.table);
  }
  details.addEventListener("toggle", draw); // also told once, after it was added, where it is open from the start
  return { lines: [source.line, target.line, caption], map: details };
}
