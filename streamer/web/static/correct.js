// Says who a track shows, or who it does not show: first what would change, then the change, which can be undone.
import { all, call, words } from "./api.js";
import { fill, h } from "./dom.js";
import { count, who } from "./words.js";

const MOST = 500; // names that are suggested

/** Ask who a track shows. `after(message)` is called when it was said. */
export async function confirmMatch(track, after) {
  const people = await all("GalleryService/ListPeople", { pageSize: MOST }, "people").catch(() => []);
  const best = track.decision?.candidates?.[0]?.person ?? "";
  const name = h("input", {
    id: "who",
    required: true,
    maxLength: 200,
    autocomplete: "off",
    value: best,
    list: "names",
  });
  const known = () => people.find((one) => one.displayName === name.value.trim());
  const note = h("p.dim");
  const tell = () => {
    note.textContent = !name.value.trim()
      ? ""
      : known()
        ? "This person is enrolled already."
        : "A new person is enrolled with this face.";
  };
  name.addEventListener("input", tell);
  tell();
  const fields = [
    h("label", { for: "who" }, "Who is it?"),
    name,
    h(
      "datalist",
      { id: "names" },
      people.map((one) => h("option", { value: one.displayName })),
    ),
    note,
  ];
  const request = () => {
    const person = known();
    return person
      ? ["GalleryService/ConfirmMatch", { trackId: track.trackId, personId: person.personId }]
      : ["GalleryService/EnrollFromTrack", { trackId: track.trackId, newPerson: { displayName: name.value.trim() } }];
  };
  ask(`Face #${track.number} is \u2026`, fields, request, () => `This is ${name.value.trim()} now.`, after);
}

/** Say that a track does not show the person it is named as. */
export function rejectMatch(track, name, after) {
  const request = () => ["GalleryService/RejectMatch", { trackId: track.trackId }];
  const fields = [
    h(
      "p",
      {},
      `The face is never named ${name} again, and faces that resemble it more than ${name} are left undecided.`,
    ),
  ];
  ask(`Not ${name}`, fields, request, () => `This is not ${name}.`, after);
}

function ask(title, fields, request, said, after) {
  const preview = h("div", { "aria-live": "polite" });
  const change = h("button.primary", { type: "submit" }, "See what changes");
  const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  let seen = ""; // the request whose changes are shown

  async function submit(event) {
    event.preventDefault();
    const [method, values] = request();
    const asked = JSON.stringify([method, values]);
    change.disabled = true;
    try {
      if (seen !== asked) {
        fill(preview, h("p.dim", {}, "Looking what would change"));
        const answer = await call(method, { ...values, dryRun: true });
        fill(preview, changes(answer.changes ?? []));
        seen = asked;
        change.textContent = "Do it";
      } else {
        const answer = await call(method, values);
        dialog.close();
        await after(message(said(), answer.entryId, after));
      }
    } catch (error) {
      fill(preview, words(error));
      seen = "";
      change.textContent = "See what changes";
    }
    change.disabled = false;
  }

  const dialog = h(
    "dialog.correct",
    { "aria-label": title, onclose: () => dialog.remove() },
    h("h1", {}, title),
    h(
      "form",
      {
        onsubmit: submit,
        oninput: () => {
          change.textContent = "See what changes";
          preview.replaceChildren();
        },
      },
      fields,
      preview,
      h("div.row", {}, change, cancel),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}

/** What a change does to the names of tracks. `list`: of IdentityChange. */
export function changes(list) {
  if (!list.length) return h("p", {}, "No other track changes its name.");
  const name = (decision) => who(decision).text || "not decided";
  return [
    h("p", {}, `${count(list.length, "track changes", "tracks change")}:`),
    h(
      "ul.changes",
      {},
      list
        .slice(0, 50)
        .map((one) =>
          h(
            "li",
            {},
            h("a", { href: `/tracks/${one.trackId}`, target: "_blank" }, one.streamId),
            `: ${name(one.before)} \u2192 ${name(one.after)}`,
          ),
        ),
    ),
    list.length > 50 ? h("p.dim", {}, `and ${list.length - 50} more`) : null,
  ];
}

function message(text, entryId, after) {
  const undo = h("button", { type: "button", onclick: back }, "Undo");
  const line = h("div.done", { role: "status" }, h("span.row", {}, text, entryId ? undo : null));
  async function back() {
    undo.disabled = true;
    try {
      await call("GalleryService/Undo", { entryId });
      await after(h("div.done", { role: "status" }, "That was undone."));
    } catch (error) {
      fill(line, words(error));
    }
  }
  return line;
}
