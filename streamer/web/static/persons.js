// People in a list: picture, labels, references and the last sight distinguish those of one name.
import { all, call, may } from "./api.js";
import { combobox } from "./combo.js";
import { h } from "./dom.js";
import { face } from "./parts.js";
import { ended } from "./tracks.js";
import { count, moment } from "./words.js";

const SHOWN = 8; // people that are offered at once
const LOOKED_AT = 200; // newest tracks of a name, among which those of a person are looked for

/** Everybody who is enrolled. */
export const readPeople = () => all("GalleryService/ListPeople", { pageSize: 1000 }, "people");

export const nameOf = (person) => person.displayName ?? "name not shown";

/** Whether a name or a label has a text in it. */
export function fits(person, text) {
  return `${person.displayName ?? person.personId} ${(person.labels ?? []).join(" ")}`.toLowerCase().includes(text.toLowerCase());
}

/** When somebody was seen last, in words; tracks are asked for by name, so one of the same name is left out here. */
export async function lastSeen(person) {
  if (!may("biometric") || !person.displayName) return "";
  const request = { past: true, newestFirst: true, pageSize: LOOKED_AT, filter: { persons: [person.displayName] } };
  const { tracks = [], nextPageToken } = await call("TrackService/ListTracks", request).catch(() => ({}));
  const track = tracks.find((one) => one.decision?.personId === person.personId);
  if (!track) return nextPageToken ? "not seen lately" : "not seen yet";
  return track.final ? `seen ${moment(ended(track).toISOString())}` : "in view now";
}

/** A person in one line of a list. */
export function personLine(person, { seen = false } = {}) {
  const references = person.referenceCount ?? 0;
  const last = h("span", {});
  if (seen) lastSeen(person).then((text) => { last.textContent = text && ` \u00b7 ${text}`; });
  const facts = [(person.labels ?? []).join(", "), references ? count(references, "reference") : "no face yet", person.readOnly && "from a folder"].filter(Boolean).join(" \u00b7 ");
  return h("span.person-line", {}, face(references && may("biometric") ? `/people/${encodeURIComponent(person.personId)}.jpg` : "", "", 40, "\u2013"),
    h("span.grow", {}, h("strong", {}, nameOf(person)), h("span.line.dim", {}, facts, last)));
}

/** A field for one of `people`, or for the name of somebody new if `fresh`. `best`: ids of those who come first.
 *  Whoever has the same name as others must be chosen from the list. `request()` returns {personId} or {newPerson};
 *  the form of the field asks for one of the list if that is missing. */
export function personPicker(people, { id = "who", best = [], fresh = true, said = "is enrolled already", isNew = "A new person is enrolled with this face." } = {}) {
  const lines = new Map(); // by id
  const input = h("input", { id, required: true, maxLength: 200 });
  const note = h("p.dim.hint", { "aria-live": "polite" });
  const NEW = {};
  let chosen = null; // a person, or NEW

  const named = () => input.value.trim();
  const same = () => people.filter((one) => one.displayName === named());
  const target = () => chosen ?? (same().length === 1 ? same()[0] : same().length ? null : NEW);

  function tell() {
    const person = target();
    const missing = !named() ? "" : !person ? `${count(same().length, "person has", "people have")} this name: choose one of the list.` : person === NEW && !fresh ? "Choose somebody of the list." : "";
    input.setCustomValidity(missing);
    note.textContent = missing || (!named() ? "" : person === NEW ? isNew : `${nameOf(person)} ${said} (${[...(person.labels ?? []), count(person.referenceCount ?? 0, "reference")].join(", ")}).`);
  }

  function line(person) {
    if (!lines.has(person.personId)) lines.set(person.personId, personLine(person, { seen: true }));
    return lines.get(person.personId);
  }

  function find(text) {
    const rank = (one) => (best.includes(one.personId) ? best.indexOf(one.personId) : best.length);
    const some = people.filter((one) => chosen || fits(one, text)).sort((a, b) => rank(a) - rank(b) || nameOf(a).localeCompare(nameOf(b)));
    const options = some.slice(0, SHOWN).map((person) => ({ person, node: line(person) }));
    if (fresh && same().length) options.push({ person: NEW, node: h("span", {}, `Another person whose name is ${named()}`) });
    return options;
  }

  input.addEventListener("input", () => { chosen = null; tell(); }); // before the list looks what fits
  const combo = combobox(input, {
    label: "People", stays: true, find,
    chosen: ({ person }) => {
      chosen = person;
      if (person !== NEW) input.value = nameOf(person);
      tell();
      input.dispatchEvent(new Event("picked", { bubbles: true }));
    },
  });
  const known = people.find((one) => one.personId === best[0]);
  if (known) { chosen = known; input.value = nameOf(known); }
  tell();
  return {
    element: h("div", {}, combo.element, note), input, name: named,
    person: () => (target() === NEW ? null : target()),
    request: (key = "personId") => (target() === NEW ? { newPerson: { displayName: named() } } : { [key]: target().personId }),
  };
}
