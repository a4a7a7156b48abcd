// Shows the server's OpenAPI document: operations, their fields and limits, their answers.

import { element } from "./elements.js";
import { examplesIn } from "./languages.js";

const main = document.getElementById("docs");

function name(reference) {
  return reference.split("/").at(-1);
}

function typeOf(schema) {
  if (schema.$ref) return name(schema.$ref);
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.prefixItems) return `[${schema.prefixItems.map(typeOf).join(", ")}]`;
  if (schema.type === "array") return `list of ${schema.items ? typeOf(schema.items) : "anything"}`;
  return schema.type ?? "anything";
}

function limitsOf(schema) {
  const shown = { minimum: "at least", maximum: "at most", minItems: "items at least", maxItems: "items at most" };
  return Object.entries(shown)
    .filter(([key]) => key in schema)
    .map(([key, words]) => `${words} ${schema[key]}`)
    .join(", ");
}

function table(heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
  const body = rows.map((cells) => element("tr", {}, ...cells.map((cell, place) => named(cell, heads[place]))));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

// Return a cell that knows its column's name, which stands beside it on a phone.
function named(content, head) {
  const cell = element("td", {}, content);
  cell.dataset.head = head;
  return cell;
}

function fields(schema) {
  const required = new Set(schema.required);
  return table(
    ["field", "type", "limits", "default", "meaning"],
    Object.entries(schema.properties ?? {}).map(([key, field]) => [
      element("code", {}, key),
      typeOf(field),
      limitsOf(field),
      "default" in field ? JSON.stringify(field.default) : required.has(key) ? "required" : "",
      field.description ?? "",
    ]),
  );
}

// Return a word as a shell reads it.
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function example(method, path, body) {
  const words = ["curl", new URL(`.${path}`, document.baseURI).href];
  if (method === "head") words.push("--head");
  if (body) words.push("-H", "Content-Type: application/json", "-d", JSON.stringify(body));
  return element("pre", {}, words.map(quoted).join(" "));
}

function operation(path, method, described, sentences) {
  const request = described.requestBody?.content["application/json"].schema;
  const field = request?.required[0]; // the texts
  const known = field === "sentences" && sentences.length > 0;
  const body = request && { [field]: known ? sentences : request.properties[field].examples[0] };
  const answers = Object.entries(described.responses).map(([status, answer]) => {
    const schema = answer.content?.["application/json"]?.schema;
    return [status, schema ? typeOf(schema) : "", answer.description];
  });
  const parts = [
    element("h2", {}, element("code", {}, `${method.toUpperCase()} ${path}`)),
    element("p", {}, described.description ?? described.summary),
    example(method, path, body),
  ];
  if (request) parts.push(fields(request));
  parts.push(table(["status", "answer", "meaning"], answers));
  return parts;
}

// Return what the server's models read, or "" where it does not say.
async function sourceLanguage() {
  try {
    return (await (await fetch("health")).json()).source_language;
  } catch {
    return "";
  }
}

async function begin() {
  const [language, api] = await Promise.all([sourceLanguage(), fetch("openapi.json").then((answer) => answer.json())]);
  const sentences = examplesIn(language).slice(0, 2);
  const { schemas } = api.components;
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, described] of Object.entries(methods)) {
      main.append(...operation(path, method, described, sentences));
    }
  }
  for (const [key, schema] of Object.entries(schemas)) {
    main.append(element("h2", {}, key), fields(schema));
  }
}

begin().catch((error) => main.append(element("p", {}, `The document cannot be shown: ${error.message}`)));
