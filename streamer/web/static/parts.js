// What several pages are made of: dialogs, searches, lists that grow, pictures that may be missing.
import { words } from "./api.js";
import { fill, h } from "./dom.js";

export const page = document.getElementById("page");

/** The head of a page: its name, and what can be done. */
export function head(title, ...actions) {
  return h("header.head", {}, h("h1", {}, title), h("div.row", {}, actions));
}

/** A field to search a list with. `changed(text)` is called soon after typing. */
export function search(label, changed, value = "") {
  let timer = 0;
  return h("input", {
    type: "search", "aria-label": label, placeholder: label, value, autocomplete: "off", spellcheck: false,
    oninput: (event) => { clearTimeout(timer); timer = setTimeout(() => changed(event.target.value.trim()), 200); },
  });
}

/** A field with its label and a hint. */
export function field(label, input, hint = "") {
  input.id ||= `f-${label.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return h("div.field", {}, h("label", { for: input.id }, label), input, hint && h("p.hint.dim", {}, hint));
}

/** A dialog with a form. `submit(say)` does it, and closes the dialog unless it returns false; errors are shown in words.
 *  `said`: name of the button; `dangerous`: it removes something. Returns {dialog, problem, button}. */
export function ask(title, content, { said = "Save", dangerous = false, submit = null, wide = false, closed = () => {} } = {}) {
  const problem = h("div", { role: "alert" });
  const button = submit && h(dangerous ? "button.wrong" : "button.primary", { type: "submit" }, said);
  const close = h("button", { type: "button", onclick: () => dialog.close() }, submit ? "Cancel" : "Close");
  async function go(event) {
    event.preventDefault();
    if (!submit) return;
    button.disabled = true;
    problem.replaceChildren();
    try {
      if ((await submit()) !== false) dialog.close();
    } catch (error) {
      fill(problem, words(error));
    }
    button.disabled = false;
  }
  const dialog = h(`dialog.ask${wide ? ".wide" : ""}`, { "aria-label": title, onclose: () => { dialog.remove(); closed(); } },
    h("form", { onsubmit: go, novalidate: false }, h("h1", {}, title), content, problem, h("div.row.end", {}, close, button)));
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, problem, button };
}

/** Say above the page what was done; `undo` takes it back. */
export function said(text, undo = null) {
  const place = document.getElementById("notices");
  const line = h("div.done.row", { role: "status" }, h("span.grow", {}, text));
  if (undo) {
    const button = h("button", { type: "button" }, "Undo");
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await undo();
        fill(line, "That was undone.");
      } catch (error) {
        fill(place, words(error));
      }
    });
    line.append(button);
  }
  line.append(h("button.quiet", { type: "button", "aria-label": "Close this message", onclick: () => line.remove() }, "Close"));
  fill(place, line);
}

/** Run something that a button starts, with words in the button meanwhile. Errors go to `place`. */
export async function busy(button, text, place, work) {
  const before = button.textContent;
  button.disabled = true;
  button.textContent = text;
  try {
    return await work();
  } catch (error) {
    fill(place, words(error));
    return undefined;
  } finally {
    button.disabled = false;
    button.textContent = before;
  }
}

/** A face by address, or what stands for one that is missing. */
export function face(src, alt, size, missing = "No picture") {
  const nobody = () => h("span.nobody.face", { style: { "--size": `${size}px` } }, missing);
  if (!src) return nobody();
  const image = h("img.face", { src, alt, width: size, height: size, loading: "lazy" });
  image.addEventListener("error", () => image.replaceWith(nobody()));
  return image;
}

/** Call `more()` whenever the end of a list comes into view, until it returns false. */
export function grows(list, more) {
  const end = h("div.more", { role: "status" });
  list.after(end);
  let busyNow = false;
  const seeing = new IntersectionObserver(async ([entry]) => {
    if (!entry.isIntersecting || busyNow) return;
    busyNow = true;
    end.textContent = "Reading more";
    const goesOn = await more().catch((error) => { fill(end, words(error)); return null; });
    busyNow = false;
    if (goesOn === null) { seeing.disconnect(); return; }
    end.textContent = "";
    if (goesOn) { seeing.unobserve(end); seeing.observe(end); } else seeing.disconnect();
  }, { rootMargin: "600px" });
  seeing.observe(end);
  return { end, stop: () => { seeing.disconnect(); end.remove(); } };
}

/** Change a text only if it differs, so that screen readers and selections stay as they are. */
export function tell(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A size in words: 1.2 GB. */
export function bytes(number) {
  const size = Number(number ?? 0);
  const step = size < 1e3 ? 0 : Math.min(4, Math.floor(Math.log10(size) / 3));
  return `${step ? (size / 1000 ** step).toFixed(size / 1000 ** step < 10 ? 1 : 0) : size} ${["bytes", "kB", "MB", "GB", "TB"][step]}`;
}

/** A number with spaces between thousands. */
export function number(value) {
  return Number(value ?? 0).toLocaleString("en").replaceAll(",", "\u202f");
}

/** A duration of protobuf ("3.5s") in seconds; NaN if it is absent. */
export function seconds(text) {
  return text ? Number.parseFloat(text) : Number.NaN;
}

/** The names in a query string, and back: read("camera") is a list. */
export const query = {
  all: (name) => new URLSearchParams(location.search).getAll(name),
  get: (name) => new URLSearchParams(location.search).get(name) ?? "",
  set(values) {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(values)) for (const one of [value].flat()) if (one) search.append(name, one);
    const text = search.toString();
    history.replaceState(null, "", text ? `?${text}` : location.pathname);
  },
};
