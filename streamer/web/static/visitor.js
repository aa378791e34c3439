// The page of an unknown visitor: journeys, faces, and who it is.
import { about, all, call, may, report } from "./api.js";
import { choice } from "./choice.js";
import { fill, h } from "./dom.js";
import { showErased } from "./erased.js";
import { journeys } from "./journeys.js";
import { ask, face, page } from "./parts.js";
import { personPicker, readPeople } from "./persons.js";
import { above, propose, short } from "./propose.js";
import { followState } from "./shell.js";
import { count, duration, moment } from "./words.js";

const FACES = 60; // that are shown at once
const AGAIN_MS = 5000;
const visitorId = about.values.visitorId;
const profile = h("section.card.profile");
const faces = h("ul.faces");
const ways = journeys({ visitorIds: [visitorId] });
fill(page, profile, ways.element, h("section.card", {}, h("h2", {}, "Faces"), faces));

let visitor = { visitorId };
let appearances = [];
let shown = null; // the tracks whose faces are shown
const title = short(visitorId);
const picture = (trackId) => (trackId && may("biometric") ? `/faces/${trackId}.jpg` : "");
const after = above(read);

async function read() {
  ({ visitor, appearances = [] } = await call("VisitorService/GetVisitor", { visitorId }));
  if (visitor.visitorId !== visitorId) { location.replace(`/visitors/${visitor.visitorId}`); return; } // it was merged
  document.title = `${title} - Face analytics`;
  showProfile();
  const now = appearances.map((one) => one.trackId).join();
  if (now === shown) return;
  shown = now;
  fill(faces, appearances.slice(-FACES).toReversed().map(card), appearances.length > FACES ? h("li.dim", {}, `and ${appearances.length - FACES} earlier ones`) : null);
  await ways.read();
}

/** Go on looking, unless somebody is about to press something that would move. */
async function follow() {
  if (!document.hidden && !document.querySelector("dialog") && !page.contains(document.activeElement)) await read().catch(() => undefined);
  setTimeout(follow, AGAIN_MS);
}

function card(one) {
  return h("li", {}, h("a", { href: `/tracks/${one.trackId}` }, face(picture(one.trackId), "", 88, "no picture"), h("span.line", {}, one.streamId), h("span.line.dim", {}, moment(one.firstSeenAt))));
}

function showProfile() {
  const button = (text, work, kind = "button") => h(kind, { type: "button", onclick: () => work().catch(report) }, text);
  const stayed = duration(Number.parseFloat(visitor.dwell ?? "0"));
  const facts = [visitor.present ? "in view now" : `last seen ${moment(visitor.lastSeenAt)}`, `first seen ${moment(visitor.firstSeenAt)}`, count(visitor.visits ?? 0, "visit"), `${stayed} in all`, (visitor.streamIds ?? []).join(", ")];
  const person = visitor.personId ? h("p", {}, "This is ", h("a", { href: `/people/${encodeURIComponent(visitor.personId)}` }, visitor.person || "somebody who is enrolled"), ".") : null;
  fill(profile, face(picture(visitor.newestTrackId), `Picture of ${title}`, 112, "no picture"),
    h("div.who", {}, may("enrol") ? h("p", {}, h("a", { href: "/people?tab=visitors" }, "Unknown visitors")) : null, h("h1", {}, title), h("p.dim", {}, facts.join(" \u00b7 ")), person),
    may("enrol") ? h("div.row", {}, visitor.personId ? null : [button("This is \u2026", name, "button.primary"), button("Same as another visitor", merge), appearances.length > 1 ? button("Split", split) : null], button("Erase", erase, "button.wrong")) : null);
}

async function name() {
  const people = (await readPeople()).filter((one) => !one.readOnly);
  const picker = personPicker(people, { isNew: "A new person is enrolled with the best faces." });
  const fields = [h("p", {}, "The past faces get the name, and later ones are recognised."), h("label", { for: "who" }, "Who is it?"), picker.element];
  propose(`${title} is \u2026`, fields, () => ["VisitorService/NameVisitor", { visitorId, ...picker.request() }], () => `${title} is ${picker.name()} now.`, after);
}

async function merge() {
  const others = (await all("VisitorService/ListVisitors", { pageSize: 1000 }, "visitors")).filter((one) => one.visitorId !== visitorId);
  const items = others.slice(0, FACES).map((one) => ({ value: one.visitorId, src: picture(one.newestTrackId), lines: [short(one.visitorId), moment(one.lastSeenAt), (one.streamIds ?? []).join(", ")] }));
  if (!items.length) { ask("Same as another visitor", h("p", {}, "There is only this visitor so far.")); return; }
  const which = choice("Which visitor?", items);
  const fields = [h("p", {}, `All faces of the other one become those of ${title}.`), which.element];
  propose(`Who is the same as ${title}?`, fields, () => ["VisitorService/MergeVisitors", { visitorId, otherVisitorId: which.values()[0] }], () => "They are one visitor now.", after, { wide: true });
}

async function split() {
  const items = appearances.slice(-FACES).toReversed().map((one) => ({ value: one.trackId, src: picture(one.trackId), lines: [one.streamId, moment(one.firstSeenAt)] }));
  const which = choice("Which faces show somebody else?", items, { several: true });
  const fields = [h("p", {}, "These faces become a visitor of their own. At least one must stay."), which.element];
  propose(`Split ${title}`, fields, () => ["VisitorService/SplitVisitor", { visitorId, trackIds: which.values() }], () => "They are two visitors now.", after, { wide: true });
}

async function erase() {
  const sure = h("input", { type: "checkbox", required: true });
  ask(`Erase ${title}?`, [h("p", {}, "This goes, for good:"),
    h("ul", {}, h("li", {}, "the pseudonym"), h("li", {}, `templates and pictures of ${count(visitor.tracks ?? 0, "track")} at ${(visitor.streamIds ?? []).join(", ")}`)),
    h("p", {}, "This stays: that a face was seen. Backups and what other programs received cannot be reached from here."), h("label.check", {}, sure, ` Erase ${title}. This cannot be undone.`)], {
    said: "Erase", dangerous: true,
    submit: async () => { showErased("The visitor was erased", await call("VisitorService/EraseVisitor", { visitorId }), "/people?tab=visitors"); return true; },
  });
}

followState();
read().catch(report);
setTimeout(follow, AGAIN_MS);
