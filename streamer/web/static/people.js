// The people: cards, who changed what, and how somebody is enrolled.
import { about, may, report } from "./api.js";
import { attention, showAttention } from "./attention.js";
import { fill, h } from "./dom.js";
import { enrol } from "./enrol.js";
import { ledger } from "./ledger.js";
import { face, grows, head, page, query, search } from "./parts.js";
import { fits, lastSeen, nameOf, readPeople } from "./persons.js";
import { arrows, followState } from "./shell.js";
import { showVisitors } from "./visitors.js";
import { count } from "./words.js";

const SHOWN = 60; // cards that are made at once
let text = query.get("q");
let people = [];

const tabs = [
  ["people", "People", showPeople],
  ...(about.values.visitors ? [["visitors", "Unknown visitors", showVisitors]] : []),
  ...(about.values.audit ? [["attention", "Needs a look", (place) => showAttention(place, (many) => mark("attention", many))]] : []),
  ["changes", "Changes", showChanges],
];
const bar = h("div.tabs", { role: "tablist", "aria-label": "People" });
const panel = h("section", { role: "tabpanel", id: "panel", tabIndex: -1 });
const find = search("Search people", (value) => { text = value; query.set({ tab: chosen(), q: text }); show(); }, text);

/** Show a number at a tab. */
function mark(name, number) {
  const place = bar.querySelector(`[data-tab="${name}"]`);
  place?.querySelector(".badge")?.remove();
  if (number) place?.append(" ", h("span.badge", {}, String(number)));
}

const chosen = () => (tabs.some(([name]) => name === query.get("tab")) ? query.get("tab") : "people");

function show() {
  if (!bar.childElementCount) {
    fill(bar, tabs.map(([name, title]) => h("button", { type: "button", role: "tab", id: `tab-${name}`, "data-tab": name, "aria-controls": "panel", onclick: () => { query.set({ tab: name === "people" ? "" : name, q: text }); show(); } }, title)));
    arrows(bar, "button");
  }
  for (const button of bar.children) {
    const mine = button.dataset.tab === chosen();
    button.setAttribute("aria-selected", String(mine));
    button.tabIndex = mine ? 0 : -1;
    if (mine) panel.setAttribute("aria-labelledby", button.id);
  }
  const [, , draw] = tabs.find(([name]) => name === chosen());
  Promise.resolve(draw(panel)).catch(report);
}

function showPeople() {
  const found = people.filter((one) => fits(one, text));
  found.sort((a, b) => (a.displayName ?? "").localeCompare(b.displayName ?? ""));
  if (!people.length) { fill(panel, teach()); return; }
  if (!found.length) { fill(panel, h("p.card.dim", {}, `Nobody has \u201c${text}\u201d in the name or a label.`)); return; }
  const list = h("ul.cards");
  fill(panel, list);
  arrows(list, "a");
  let made = 0;
  const more = async () => {
    for (const one of found.slice(made, made + SHOWN)) list.append(card(one));
    made += SHOWN;
    return made < found.length;
  };
  more();
  if (made < found.length) grows(list, more);
}

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    if (may("biometric")) lastSeen(target.person).then((text) => { target.textContent = text; });
  }
});

function card(person) {
  const name = nameOf(person);
  const last = h("span.line", {}, "\u00a0");
  last.person = person;
  const uses = person.usedCount ?? 0;
  const references = person.referenceCount ?? 0;
  const sign = !references ? "no face yet" : uses < references ? `${uses} of ${count(references, "reference")} used` : count(references, "reference");
  seen.observe(last);
  return h("li", {}, h("a.person-card.card", { href: `/people/${encodeURIComponent(person.personId)}` },
    face(references && may("biometric") ? `/people/${encodeURIComponent(person.personId)}.jpg` : "", "", 144, references ? "no picture" : "no face yet"),
    h("strong", { title: name }, name), last, h("span.line", {}, sign, person.readOnly ? " \u00b7 from a folder" : "")));
}

function teach() {
  return h("section.card.teach", {}, h("h2", {}, "Nobody is enrolled yet"),
    h("p", {}, "Somebody who is enrolled is named wherever a camera sees the face. A picture suffices, or a face that is in view now."),
    may("enrol") ? h("p", {}, h("button.primary", { type: "button", onclick: () => enrol(people, read) }, "Enrol somebody")) : h("p.dim", {}, "That needs a token with the scope enrol."),
    h("p.dim", {}, "Faces are personal data: inform people, and ask them where the law says so. They can be erased completely at any time."));
}

function showChanges() {
  fill(panel, h("div.skeleton", {}, "Reading the changes"));
  return ledger(panel, "", read);
}

async function read() {
  people = await readPeople();
  show();
}

async function start() {
  fill(page, head("People", find, may("enrol") ? h("button.primary", { type: "button", onclick: () => enrol(people, read) }, "Enrol somebody") : null), bar, panel);
  followState();
  if (!may("enrol")) {
    fill(panel, h("section.card.teach", {}, h("h2", {}, "Your token may not see the people"), h("p", {}, "That needs the scope enrol. Names of people still appear at faces, if the token has the scope biometric."), h("a.button", { href: "/history" }, "Look at the history")));
    return;
  }
  fill(panel, h("div.skeleton", {}, "Reading the people"));
  await read().catch((error) => {
    panel.replaceChildren();
    if (error.code === "FAILED_PRECONDITION") fill(panel, h("section.card.teach", {}, h("h2", {}, "This streamer keeps no people"), h("p", {}, error.message)));
    else report(error);
  });
  if (about.values.audit && people.length && chosen() !== "attention") attention((many) => mark("attention", many)).catch(() => undefined);
}

start();
