// What the pages share: elements, and what can be sent. Texts become text nodes only.

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Return a function that calls `ask` once, however often it is called, and again after a failure.
export function remembered(ask) {
  let known = null; // a promise
  return () => {
    known ??= ask().catch((error) => {
      known = null; // to ask again
      throw error;
    });
    return known;
  };
}

// Let Ctrl+Enter in a part of a form, or in all of it, send the form.
export function sendByKeys(part, form) {
  part.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
}

// Ask the server. Returns `{ answer }`, or `{ failed }`: in words why there is none, or null where it was aborted.
// `body` returns what is sent, and `list` names what an answer of this server holds.
export async function post(path, body, list, signal, { gone, stranger }) {
  let response, answer;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(await body()),
      signal,
    });
    answer = await response.json();
  } catch (error) {
    if (signal.aborted) return { failed: null };
    return { failed: error instanceof SyntaxError ? stranger : gone };
  }
  if (signal.aborted) return { failed: null };
  if (!response.ok) {
    return { failed: typeof answer?.error === "string" ? `The server says: ${answer.error}` : stranger };
  }
  return Array.isArray(answer?.[list]) ? { answer } : { failed: stranger };
}

// Return a button that copies what a function returns.
export function copyButton(copied) {
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

// Return a text without what nobody can see or type, and the server does not take: NUL, and halves of UTF-16 pairs,
// which are replaced as in UTF-8.
export function clean(text) {
  return text.replaceAll("\0", "").replace(/\p{Surrogate}/gu, "\ufffd");
}
