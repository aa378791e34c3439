// The page of a person: references, appearances, changes, and what can be done.
import { about, all, call, may, report } from "./api.js";
import { choice } from "./choice.js";
import { rejectMatch } from "./correct.js";
import { fill, h } from "./dom.js";
import { Pictures } from "./enrol.js";
import { showErased } from "./erased.js";
import { journeys } from "./journeys.js";
import { ledger } from "./ledger.js";
import { ask, face, field, grows, page, said } from "./parts.js";
import { nameOf, personPicker, readPeople } from "./persons.js";
import { above, propose } from "./propose.js";
import { followState } from "./shell.js";
import { trackCard } from "./tracks.js";
import { count, moment } from "./words.js";

const APPEARANCES = 24; // that are read at once
const AGAIN_MS = 3000;
let person = { personId: about.values.personId };

const profile = h("section.card.profile");
const references = h("ul.references");
const seen = h("ul.faces");
const changed = h("div");
const ways = about.values.visitors ? journeys({ personIds: [person.personId] }) : null;
fill(page, profile, h("section.card", {}, h("h2", {}, "References"), references), ways?.element, h("section.card.seen", {}, h("h2", {}, "Appearances"), seen), h("section", {}, h("h2", {}, "Changes"), changed));

const name = () => nameOf(person);
const after = above(read);

async function read() {
  shown = null;
  person = (await call("GalleryService/GetPerson", { personId: about.values.personId })).person;
  if (person.personId !== about.values.personId) { location.replace(`/people/${encodeURIComponent(person.personId)}`); return; }
  document.title = `${name()} - Face analytics`;
  showProfile();
  await Promise.all([showReferences(), showSeen(), ways?.read(), ledger(changed, person.personId, read)]);
}

function showProfile() {
  const editable = may("enrol") && !person.readOnly;
  const chips = (person.labels ?? []).map((one) => h("span.chip", {}, one));
  const facts = Object.entries(person.metadata ?? {}).map(([key, value]) => h("span.dim", {}, `${key}: ${value}`));
  const button = (text, work, kind = "button") => h(kind, { type: "button", onclick: () => work().catch(report) }, text);
  fill(profile,
    face(person.referenceCount && may("biometric") ? `/people/${encodeURIComponent(person.personId)}.jpg` : "", `Picture of ${name()}`, 112, "no picture"),
    h("div.who", {}, h("h1", {}, name()), h("p.dim", {}, person.createdAt ? `Enrolled ${moment(person.createdAt)}. ` : "", `${count(person.usedCount ?? 0, "reference")} in use.`), h("div.row", {}, chips, facts)),
    editable ? h("div.row", {}, button("Add pictures", addPictures, "button.primary"), button("Name and labels", edit), button("Merge", merge), (person.referenceCount ?? 0) > 1 ? button("Split off", split) : null, button("Erase", erase, "button.wrong"))
      : person.readOnly ? h("p.notice", {}, "This person comes from gallery.folder, and is changed there.") : null);
}

const readReferences = () => all("GalleryService/ListReferences", { personId: person.personId, pageSize: 100, includeFace: true }, "references");
const pictureOf = (reference) => (reference.faceJpeg ? `data:image/jpeg;base64,${reference.faceJpeg}` : "");

async function showReferences() {
  const found = await readReferences();
  if (!found.length) { fill(references, h("li.dim", {}, "No face yet, so nobody is recognised as this person. Add a picture.")); return; }
  fill(references, found.map((one) => {
    const state = one.setAside ? "set aside" : one.used ? "" : "not used: made by another model";
    const from = one.trackId ? h("a", { href: `/tracks/${one.trackId}` }, "a track") : one.fileName ?? "a picture";
    const change = (text, work) => h("button", { type: "button", onclick: work }, text);
    return h(`li${one.setAside ? ".aside" : ""}`, {}, face(pictureOf(one), `Reference from ${one.fileName || "a track"}`, 112, "no picture kept"),
      h("span", { title: `Added ${moment(one.createdAt)}` }, `quality ${(one.quality ?? 0).toFixed(2)}`), h("span.dim", {}, "from ", from), state && h("span.sign.attention", {}, state),
      may("enrol") && !person.readOnly ? h("div.row", {}, change(one.setAside ? "Restore" : "Set aside", () => setAside(one)), change("Delete", () => remove(one))) : null);
  }));
}

async function setAside(reference) {
  const change = (aside) => call("GalleryService/SetReferenceAside", { referenceId: reference.referenceId, aside });
  try {
    await change(!reference.setAside);
    said(reference.setAside ? "The reference is compared with again." : "The reference is kept, but not compared with.", async () => { await change(Boolean(reference.setAside)); await read(); });
    await read();
  } catch (error) {
    report(error);
  }
}

function remove(reference) {
  ask("Delete this reference?", [h("p", {}, "The picture and its template are removed. This cannot be undone; to try without it, set it aside.")], {
    said: "Delete it", dangerous: true,
    submit: async () => {
      await call("GalleryService/DeleteReference", { referenceId: reference.referenceId });
      said("The reference was deleted.");
      await read();
      return true;
    },
  });
}

let growing = null;
let shown = null; // what the appearances show: JSON of ids and revisions of the first ones

/** Show where the person appeared, unless that is what is shown already. */
async function showSeen() {
  if (!may("biometric")) { fill(seen, h("li.dim", {}, "Your token may not see who is where: that needs the scope biometric.")); return; }
  const request = { past: true, newestFirst: true, includeFace: true, pageSize: APPEARANCES, filter: { persons: [person.displayName] } };
  const page = (pageToken) => call("TrackService/ListTracks", { ...request, pageToken });
  const first = await page("");
  const now = JSON.stringify((first.tracks ?? []).map((one) => [one.trackId, one.decision?.revision, one.samples ? 1 : 0, Boolean(one.final)]));
  if (now === shown) return;
  shown = now;
  growing?.stop();
  growing = null;
  seen.replaceChildren();
  addAppearances(first);
  if (!seen.childElementCount && !first.nextPageToken) seen.append(h("li.dim", {}, "Not seen yet, as far as tracks are kept."));
  let pageToken = first.nextPageToken;
  if (pageToken) {
    growing = grows(seen, async () => {
      const answer = await page(pageToken);
      addAppearances(answer);
      pageToken = answer.nextPageToken;
      return Boolean(pageToken);
    });
  }
}

function addAppearances({ tracks = [], facesJpeg = {} }) {
  for (const track of tracks) {
    if (track.decision?.personId !== person.personId) continue; // another person of this name
    const card = trackCard(track, facesJpeg[track.trackId]);
    if (may("enrol")) card.append(h("button.quiet", { type: "button", onclick: () => rejectMatch(track, name(), after) }, `Not ${name()}`));
    seen.append(card);
  }
}

/** Go on looking, as long as whoever reads is at the newest ones. */
async function follow() {
  if (!document.hidden && person.displayName && seen.childElementCount <= APPEARANCES && !seen.contains(document.activeElement)) await showSeen().catch(() => undefined);
  setTimeout(follow, AGAIN_MS);
}

async function addPictures() {
  const pictures = new Pictures(async () => person.personId);
  ask(`Pictures of ${name()}`, pictures.element, {
    said: "Add the pictures", wide: true,
    submit: async () => {
      const good = await pictures.send();
      if (!good) return false;
      said(`${count(good, "picture")} of ${name()} added.`);
      await read();
      return pictures.allGood;
    },
  });
}

async function edit() {
  const called = h("input", { required: true, maxLength: 200, value: person.displayName ?? "" });
  const labels = h("input", { value: (person.labels ?? []).join(", "), placeholder: "staff, night shift" });
  const facts = h("textarea", { rows: 3, placeholder: "department: sales" });
  facts.value = Object.entries(person.metadata ?? {}).map(([key, value]) => `${key}: ${value}`).join("\n");
  ask("Name and labels", [field("Name", called), field("Labels", labels, "Words, with commas between them."), field("More", facts, "One line each: what, a colon, and the value.")], {
    submit: async () => {
      const metadata = Object.fromEntries(facts.value.split("\n").filter((one) => one.trim()).map((one) => [one.split(":")[0].trim(), one.split(":").slice(1).join(":").trim()]));
      const asked = { displayName: called.value.trim(), labels: labels.value.split(",").map((one) => one.trim()).filter(Boolean), metadata };
      await call("GalleryService/UpdatePerson", { personId: person.personId, person: asked, updateMask: "displayName,labels,metadata", expectedVersion: person.version });
      said("Saved. The history shows the new name, too.");
      await read();
      return true;
    },
  });
}

async function others() {
  return (await readPeople()).filter((one) => one.personId !== person.personId && !one.readOnly);
}

async function merge() {
  const picker = personPicker(await others(), { fresh: false, said: "becomes one with this person" });
  const fields = [h("p", {}, `Their references and appearances become those of ${name()}, whose name stays.`), h("label", { for: "who" }, "Who is the same person?"), picker.element];
  propose(`Make somebody one with ${name()}`, fields, () => ["GalleryService/MergePeople", { personId: person.personId, ...picker.request("otherPersonId") }], () => `They are one person now: ${name()}.`, after);
}

async function split() {
  const [people, found] = await Promise.all([others(), readReferences()]);
  const which = choice("Which references show somebody else?", found.map((one) => ({ value: one.referenceId, src: pictureOf(one), lines: [one.trackId ? "from a track" : one.fileName, `quality ${(one.quality ?? 0).toFixed(2)}`] })), { several: true });
  const picker = personPicker(people, { isNew: "A new person is enrolled with these references." });
  const fields = [h("p", {}, `These references, and the tracks that they were learnt from, are no longer those of ${name()}. At least one must stay.`), which.element, h("label", { for: "who" }, "Who do they show?"), picker.element];
  const request = () => ["GalleryService/SplitPerson", { personId: person.personId, referenceIds: which.values(), expectedVersion: person.version, ...picker.request("otherPersonId") }];
  propose(`Split off ${name()}`, fields, request, () => `${picker.name()} has these references now.`, after, { wide: true });
}

async function erase() {
  const sure = h("input", { type: "checkbox", required: true });
  const preview = h("ul", {}, h("li.dim", {}, "Counting what goes"));
  ask(`Erase ${name()}?`, [h("p", {}, "This goes, for good:"), preview,
    h("p", {}, "This stays: that somebody was seen, as an unknown face without a name, and that an erasure took place. Backups and what other programs received cannot be reached from here."),
    h("label.check", {}, sure, ` Erase ${name()}. This cannot be undone.`)], {
    said: "Erase", dangerous: true,
    submit: async () => {
      const { report: done } = await call("GalleryService/ErasePerson", { personId: person.personId });
      showErased("The person was erased", done, "/people");
      return true;
    },
  });
  const filter = { persons: [person.displayName ?? ""] };
  const counted = may("biometric") ? await call("TrackService/CountTracks", { filter }).catch(() => null) : null;
  const tracks = (counted?.hours ?? []).reduce((sum, one) => sum + Number(one.tracks), 0);
  fill(preview, h("li", {}, "the name, labels and everything else that was noted"), h("li", {}, `${count(person.referenceCount ?? 0, "reference")} with pictures and templates`),
    h("li", {}, counted ? `the name in ${count(tracks, "track")}, and their pictures of the face` : "the name in all tracks, and their pictures of the face"), h("li", {}, "the key with which all of it is encrypted"));
}

followState();
setTimeout(follow, AGAIN_MS);
read().catch((error) => { page.replaceChildren(h("p", {}, h("a", { href: "/people" }, "All people"))); report(error); });
