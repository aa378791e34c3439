// Changes about people and tracks: first what would change, then the change, which can be undone.
import { call, words } from "./api.js";
import { fill, h } from "./dom.js";
import { count, who } from "./words.js";

const MOST = 50; // changes that are listed

/** Ask for a change. `request()` returns [method, values] from the fields; `said()` says what was done;
 *  `after(message)` is called when it is done. */
export function propose(title, fields, request, said, after, { wide = false } = {}) {
  const preview = h("div", { "aria-live": "polite" });
  const change = h("button.primary", { type: "submit" }, "See what changes");
  const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  let seen = ""; // the request whose changes are shown

  function again() {
    seen = "";
    change.textContent = "See what changes";
    preview.replaceChildren();
  }

  async function submit(event) {
    event.preventDefault();
    const [method, values] = request();
    const asked = JSON.stringify([method, values]);
    change.disabled = true;
    try {
      if (seen !== asked) {
        fill(preview, h("p.dim", {}, "Looking what would change"));
        const answer = await call(method, { ...values, dryRun: true });
        fill(preview, changesOf(answer));
        seen = asked;
        change.textContent = "Do it";
      } else {
        const answer = await call(method, values);
        dialog.close();
        await after(message(said(), answer.entryId, after), answer);
      }
    } catch (error) {
      again();
      fill(preview, words(error));
    }
    change.disabled = false;
  }

  const form = h("form", { onsubmit: submit, oninput: again, onpicked: again }, fields, preview, h("div.row", {}, change, cancel));
  const dialog = h(`dialog.correct${wide ? ".wide" : ""}`, { "aria-label": title, onclose: () => dialog.remove() }, h("h1", {}, title), form);
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** What an answer to a dry run says: changes of names, and of visitors. */
function changesOf(answer) {
  const list = [...(answer.changes ?? []), ...(answer.visitorChanges ?? [])];
  const names = [...(answer.identityChanges ?? []), ...list.filter((one) => typeof one.before === "object" || typeof one.after === "object")];
  const visitors = list.filter((one) => typeof one.before === "string" || typeof one.after === "string");
  return [visitors.length ? moved(visitors) : null, names.length ? changes(names) : null, visitors.length || names.length ? null : changes([])];
}

/** What a change does to the names of tracks. `list`: of IdentityChange. */
export function changes(list) {
  if (!list.length) return h("p", {}, "No other track changes.");
  const name = (decision) => who(decision).text || "not decided";
  return listed(list, `${count(list.length, "track changes", "tracks change")}:`, name);
}

/** What a change does to the visitors of tracks. `list`: of VisitorChange. */
function moved(list) {
  const name = (id) => (id === "new" ? "a new visitor" : id ? short(id) : "no visitor");
  return listed(list, `${count(list.length, "track is", "tracks are")} of another visitor:`, name);
}

function listed(list, title, name) {
  return [
    h("p", {}, title),
    h("ul.changes", {}, list.slice(0, MOST).map((one) => h("li", {}, h("a", { href: `/tracks/${one.trackId}`, target: "_blank" }, one.streamId), `: ${name(one.before)} \u2192 ${name(one.after)}`))),
    list.length > MOST ? h("p.dim", {}, `and ${list.length - MOST} more`) : null,
  ];
}

/** What a visitor is called: the end of the pseudonym. */
export const short = (id) => `Visitor ${id.slice(-6)}`;

/** Show a message above the page, and read the page again. For `propose`. */
export const above = (again) => async (line) => {
  fill(document.getElementById("notices"), line);
  await again();
};

function message(text, entryId, after) {
  const undo = h("button", { type: "button", onclick: back }, "Undo");
  const line = h("div.done", { role: "status" }, h("span.row", {}, text, Number(entryId ?? 0) ? undo : null));
  async function back() {
    undo.disabled = true;
    try {
      await call("GalleryService/Undo", { entryId });
      await after(h("div.done", { role: "status" }, "That was undone."), null);
    } catch (error) {
      fill(line, words(error));
    }
  }
  return line;
}
