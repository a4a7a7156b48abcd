// What is wrong with a request, in words: as the page finds it before it asks, and as the server answers.

export const STRANGER =
  "What answered is not this server. Is the server running? Your text stays here: press the button to try again.";

function counted(number) {
  return number.toLocaleString("en");
}

// Return a limit of /health, or infinity where the server tells none.
function limit(limits, name) {
  const most = limits?.[name];
  return Number.isFinite(most) && most > 0 ? most : Infinity;
}

function tooLong({ number, sentence }, most) {
  return `Line ${counted(number)} is too long: ${counted([...sentence].length)} of ${counted(most)} characters`;
}

function tooMany(lines, most) {
  return `Too many lines: ${counted(lines.length)} of ${counted(most)}`;
}

function tooLarge(request, most) {
  return `The text is too large: ${counted(size(request))} of ${counted(most)} bytes`;
}

function size(request) {
  return new TextEncoder().encode(JSON.stringify(request)).length;
}

function outOfRange(name, value, most) {
  const range = most === Infinity ? "of at least 1" : `from 1 to ${counted(most)}`;
  return `${name} must be a whole number ${range}${value === "" ? "" : `, not ${value}`}`;
}

// Return what is wrong with the number in a field, or "".
export function fieldProblem(name, { value }, limits) {
  const most = limit(limits, "max_beam");
  const number = Number(value);
  return value !== "" && Number.isInteger(number) && number >= 1 && number <= most ? "" : outOfRange(name, value, most);
}

// Return what is wrong with the number in a field of a language model's page, or "".
export function numberProblem({ name, input, whole }) {
  const [least, most] = [Number(input.min), input.max === "" ? Infinity : Number(input.max)];
  const number = Number(input.value);
  if (input.value !== "" && number >= least && number <= most && (!whole || Number.isInteger(number))) return "";
  const range = most === Infinity ? `of at least ${least}` : `from ${least} to ${counted(most)}`;
  return `${name} must be a ${whole ? "whole " : ""}number ${range}`;
}

// Return what is wrong with the length of a text, or "".
export function characterProblem(name, text, limits) {
  const most = limit(limits, "max_characters");
  const count = text.length > most ? [...text].length : 0;
  return count > most ? `${name} is too long: ${counted(count)} of ${counted(most)} characters` : "";
}

// Return what is wrong with lines, [{number, sentence}], or "". Python counts code points, as [...sentence] does.
export function linesProblem(lines, limits) {
  const [most, longest] = [limit(limits, "max_sentences"), limit(limits, "max_characters")];
  if (lines.length > most) return tooMany(lines, most);
  const long = lines.filter(({ sentence }) => sentence.length > longest && [...sentence].length > longest);
  if (!long.length) return "";
  const others = long.length - 1;
  return tooLong(long[0], longest) + (others ? `; and ${counted(others)} more ${others > 1 ? "lines" : "line"}` : "");
}

// Return what is wrong with the size of a request, or "".
export function bodyProblem(request, limits) {
  const most = limit(limits, "max_body");
  return size(request) > most ? tooLarge(request, most) : "";
}

// The server's refusals of what the page would have refused, had it known the limits.
function refusal(error, lines, request) {
  const read = (pattern) => error.match(pattern)?.slice(1).map((text) => Number(text.replaceAll(",", "")));
  let found;
  if ((found = read(/^sentences\.(\d+):.* at most ([\d,]+)/)) && lines[found[0]]) return tooLong(lines[found[0]], found[1]);
  if ((found = read(/^sentences:.* at most ([\d,]+)/))) return tooMany(lines, found[0]);
  if ((found = read(/^beam_size:.* (?:at most|less than or equal to) ([\d,]+)/))) {
    return outOfRange("Beam", request.beam_size, found[0]);
  }
  if ((found = read(/^the body must have at most ([\d,]+) bytes/))) return tooLarge(request, found[0]);
  return "";
}

// Return in words why a response holds no translations, for the lines and the request that were sent.
export function answerProblem(response, answer, lines, request) {
  const error = answer?.error;
  if (typeof error !== "string") return STRANGER;
  if (response.status === 503) {
    if (error.includes("stopping")) return "The server is stopping. Start it again, then press the button.";
    const seconds = Number(response.headers.get("Retry-After")) || 5;
    const reason = error.split(";")[0];
    return `The server is busy: ${reason}. Try again in ${counted(seconds)} ${seconds === 1 ? "second" : "seconds"}.`;
  }
  return refusal(error, lines, request) || `The server says: ${error}`;
}
