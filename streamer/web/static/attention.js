// The people who need a look: look-alikes, doubtful references, people who are hard to find.
import { call, may } from "./api.js";
import { changes } from "./propose.js";
import { fill, h } from "./dom.js";
import { ask, face, said } from "./parts.js";
import { count } from "./words.js";

const KEPT_MS = 600e3; // the number at the tab is asked for this often
const VERDICTS = {
  LOOK_ALIKE: "They are as similar as one person, so that faces of either may stay undecided.", PROBABLY_SAME: "They are as similar as the references of one person: probably one person twice.", SAME_IMAGE: "They have the same picture.",
};
const DOUBTS = { UNLIKE_OTHERS: "it does not resemble the person's other references", RESEMBLES_OTHER: "it resembles somebody else more", PULLS_TOGETHER: "it makes two people look like one" };

const number = (audit) => (audit.pairs?.length ?? 0) + (audit.referencesInDoubt?.length ?? 0);
const percent = (value) => `${(100 * (value ?? 0)).toFixed(1)} %`;

/** How many need a look: it is remembered for some minutes, because it takes a search of everybody for everybody. */
export async function attention(mark) {
  const kept = JSON.parse(sessionStorage.getItem("attention") ?? "null");
  if (kept && Date.now() - kept.at < KEPT_MS) { mark(kept.number); return; }
  const { audit = {} } = await call("GalleryService/AuditGallery", { days: 1 });
  remember(audit, mark);
}

function remember(audit, mark) {
  sessionStorage.setItem("attention", JSON.stringify({ at: Date.now(), number: number(audit) }));
  mark(number(audit));
}

/** Fill the tab. */
export async function showAttention(panel, mark) {
  fill(panel, h("div.skeleton", {}, "Comparing everybody with everybody"));
  const again = () => showAttention(panel, mark);
  const { audit = {} } = await call("GalleryService/AuditGallery", { includeFaces: may("biometric") });
  remember(audit, mark);
  const pairs = (audit.pairs ?? []).map((one) => pair(one, again));
  const doubts = (audit.referencesInDoubt ?? []).map((one) => doubt(one, again));
  const outdated = (audit.peopleHealth ?? []).filter((one) => one.outdated);
  const rate = audit.falseAccepts?.rate;
  fill(panel, h("div.needs-look", {},
    (audit.attention ?? []).length ? h("ul.notice", {}, audit.attention.map((one) => h("li", {}, one))) : h("p.done", {}, "Nobody needs a look."),
    pairs.length ? [h("h2", {}, "May be taken for each other"), h("ul.rows", {}, pairs)] : null,
    doubts.length ? [h("h2", {}, "References that may harm"), h("ul.rows", {}, doubts)] : null,
    outdated.length ? [h("h2", {}, "Newer pictures would help"), h("ul.plain", {}, outdated.map((one) => h("li", {}, link(one.person), `: resembled ${(one.earlierSimilarity ?? 0).toFixed(2)} before, ${(one.laterSimilarity ?? 0).toFixed(2)} now`)))] : null,
    h("p.dim", {}, `${count(audit.people ?? 0, "person", "people")} with ${count(audit.references ?? 0, "reference")}. A face is named from the similarity ${(audit.threshold ?? 0).toFixed(2)}. `
      + (audit.rankOne === undefined ? "" : `References that find their own person first: ${percent(audit.rankOne)}; that would be named rightly: ${percent(audit.identified)}. `)
      + (rate === undefined ? "How often strangers are named is not known yet: that needs 30 of them." : `Strangers who are named: about ${percent(rate)} (${percent(audit.falseAccepts.low ?? 0)} to ${percent(audit.falseAccepts.high ?? 0)}).`))));
}

const link = (one) => h("a", { href: `/people/${encodeURIComponent(one?.personId ?? "")}` }, one?.displayName ?? "name not shown");
const picture = (one) => face(one?.faceJpeg ? `data:image/jpeg;base64,${one.faceJpeg}` : "", "", 88, "no picture");

function pair(found, again) {
  const { person, other } = found;
  return h("li.card.row", {}, picture(person), picture(other),
    h("div.grow", {}, h("strong", {}, link(person), " and ", link(other)), h("p", {}, `${VERDICTS[(found.verdict ?? "").replace("PAIR_VERDICT_", "")] ?? ""} Similarity ${(found.similarity ?? 0).toFixed(2)}.`),
      may("enrol") ? h("div.row", {}, h("button", { type: "button", onclick: () => same(person, other, again) }, "One person"), h("button", { type: "button", onclick: () => two(person, other, again) }, "Two people")) : null));
}

async function same(person, other, again) {
  const place = h("div", {}, h("p.dim", {}, "Looking what would change"));
  const request = { personId: person.personId, otherPersonId: other.personId };
  ask(`${person.displayName} and ${other.displayName} are one person?`, [h("p", {}, `The name ${person.displayName} stays. This can be undone.`), place], {
    said: "Make them one",
    submit: async () => {
      const { entryId } = await call("GalleryService/MergePeople", request);
      said(`They are one person now: ${person.displayName}.`, async () => { await call("GalleryService/Undo", { entryId }); await again(); });
      await again();
      return true;
    },
  });
  const answer = await call("GalleryService/MergePeople", { ...request, dryRun: true }).catch(() => ({}));
  fill(place, changes(answer.changes ?? []));
}

function two(person, other, again) {
  ask("Two people?", h("p", {}, `${person.displayName} and ${other.displayName} are no longer listed here. Faces that resemble both stay undecided, as now.`), {
    said: "They are two people",
    submit: async () => {
      const { entryId } = await call("GalleryService/DistinguishPeople", { personId: person.personId, otherPersonId: other.personId });
      said("They are two people.", async () => { await call("GalleryService/Undo", { entryId }); await again(); });
      await again();
      return true;
    },
  });
}

function doubt(found, again) {
  const why = (found.doubts ?? []).map((one) => DOUBTS[one.replace("REFERENCE_DOUBT_", "")] ?? one).join("; ");
  const aside = async () => {
    const change = (to) => call("GalleryService/SetReferenceAside", { referenceId: found.referenceId, aside: to });
    await change(true);
    said("The reference is kept, but not compared with.", async () => { await change(false); await again(); });
    await again();
  };
  return h("li.card.row", {}, face(found.faceJpeg ? `data:image/jpeg;base64,${found.faceJpeg}` : "", "", 88, "no picture"),
    h("div.grow", {}, h("strong", {}, "A reference of ", link(found.person)), h("p", {}, `${why}. Similarity ${(found.ownSimilarity ?? 0).toFixed(2)} to ${found.person?.displayName ?? "the person"}`, found.other?.personId ? [`, ${(found.otherSimilarity ?? 0).toFixed(2)} to `, link(found.other)] : "", "."),
      may("enrol") && found.referenceId ? h("button", { type: "button", onclick: () => aside().catch((error) => said(error.message)) }, found.adviseAside ? "Set aside (advised)" : "Set aside") : null));
}
