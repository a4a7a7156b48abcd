// Shows the server's OpenAPI document: operations, their fields and limits, their answers.

import { element } from "./attention.js";

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
  const body = rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, cell))));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

function fields(schema) {
  const required = new Set(schema.required);
  return table(
    ["field", "type", "limits", "default", "meaning"],
    Object.entries(schema.properties).map(([key, field]) => [
      element("code", {}, key),
      typeOf(field),
      limitsOf(field),
      "default" in field ? JSON.stringify(field.default) : required.has(key) ? "required" : "",
      field.description ?? "",
    ]),
  );
}

function example(method, path, body) {
  const address = new URL(`.${path}`, document.baseURI);
  if (!body) return element("pre", {}, `curl ${address}`);
  const data = JSON.stringify(body);
  return element("pre", {}, `curl ${address} -H 'Content-Type: application/json' -d '${data}'`);
}

function operation(path, method, described, schemas) {
  const reference = described.requestBody?.content["application/json"].schema.$ref;
  const request = reference && schemas[name(reference)];
  const body = request && { sentences: request.properties.sentences.examples[0] };
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

async function begin() {
  const document = await (await fetch("openapi.json")).json();
  const { schemas } = document.components;
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, described] of Object.entries(methods)) {
      main.append(...operation(path, method, described, schemas));
    }
  }
  for (const [key, schema] of Object.entries(schemas)) {
    main.append(element("h2", {}, key), fields(schema));
  }
}

begin().catch((error) => main.append(element("p", {}, `The document cannot be shown: ${error.message}`)));
