// A field that offers what fits while somebody types, by keys, mouse and for screen readers: the pattern "combobox".
import { fill, h } from "./dom.js";
import { count } from "./words.js";

let made = 0;

/** Make a combobox of a text field. `find(text)` returns what fits: a list of {node, ...}, or a promise of it;
 *  `chosen(one)` is called with one of them. `label`: what the list is called. `stays`: it is open all the time, so
 *  that nothing below it moves when the field loses the focus. `first`: Enter takes the first one, also of what is still
 *  looked for. `pauseMs`: it is looked for only when nobody has typed for this time. */
export function combobox(input, { label, find, chosen, stays = false, first = false, pauseMs = 0 }) {
  const id = `options-${++made}`;
  const list = h("ul", { id, role: "listbox", "aria-label": label, hidden: true });
  const note = h("p.dim.hint", { hidden: true });
  const popup = h("div.options", { hidden: true }, list, note);
  const status = h("span.hidden-text", { role: "status" });
  let found = [];
  let active = -1;
  let asked = 0;
  let shown = ""; // the text of what is found
  let hurried = false; // Enter was pressed before anything was found
  let pause = 0;

  function activate(place) {
    active = place;
    [...list.children].forEach((one, index) => one.setAttribute("aria-selected", String(index === active)));
    if (active < 0) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", list.children[active].id);
    list.children[active]?.scrollIntoView({ block: "nearest" });
  }

  function close() {
    asked += 1;
    clearTimeout(pause);
    hurried = false;
    popup.hidden = true;
    input.setAttribute("aria-expanded", "false");
    activate(-1);
  }

  /** Show what fits the text of the field. */
  async function show() {
    clearTimeout(pause);
    const mine = ++asked;
    const text = input.value.trim();
    let problem = "";
    const some = await Promise.resolve(find(text)).catch((error) => { problem = error.message; return []; });
    if (mine !== asked || (!stays && document.activeElement !== input)) return;
    found = some;
    shown = text;
    if (hurried && found.length) { take(found[0]); return; }
    hurried = false;
    active = -1;
    input.removeAttribute("aria-activedescendant");
    fill(list, found.map((one, index) => h("li", { role: "option", id: `${id}-${index}`, "aria-selected": "false", onclick: () => take(one) }, one.node)));
    const nothing = !found.length && Boolean(input.value.trim());
    note.textContent = problem || "Nothing fits.";
    note.hidden = list.hidden = true;
    list.hidden = !found.length;
    note.hidden = !problem && (!nothing || stays);
    popup.hidden = list.hidden && note.hidden;
    input.setAttribute("aria-expanded", String(!list.hidden));
    status.textContent = problem || (found.length ? `${count(found.length, "suggestion")}, choose with the arrow keys` : nothing ? "No suggestion" : "");
  }

  function take(one) {
    close();
    chosen(one);
  }

  for (const [name, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": id, autocomplete: "off", spellcheck: "false" })) input.setAttribute(name, value);
  input.addEventListener("input", () => {
    hurried = false;
    clearTimeout(pause);
    pause = setTimeout(show, pauseMs);
  });
  if (stays) for (const kind of ["focus", "click"]) input.addEventListener(kind, () => { if (popup.hidden) show(); });
  input.addEventListener("keydown", (event) => {
    const open = !popup.hidden && found.length > 0 && shown === input.value.trim();
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!open) { show(); return; }
      const step = event.key === "ArrowDown" ? 1 : -1;
      activate(active < 0 && step < 0 ? found.length - 1 : (active + step + found.length) % found.length);
    } else if (event.key === "Enter" && open && (active >= 0 || first)) {
      event.preventDefault();
      take(found[Math.max(0, active)]);
    } else if (event.key === "Enter" && first && input.value.trim()) {
      event.preventDefault();
      hurried = true;
      show();
    } else if (event.key === "Escape" && !popup.hidden && !stays) {
      event.preventDefault();
      event.stopPropagation();
      close();
    }
  });
  popup.addEventListener("mousedown", (event) => event.preventDefault()); // the field keeps the focus
  if (!stays) input.addEventListener("blur", close);
  return { element: h("span.combo", {}, input, popup, status), show, close };
}
