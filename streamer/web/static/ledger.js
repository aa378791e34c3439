// Who changed what about people, with a way back.
import { call, may } from "./api.js";
import { changes } from "./propose.js";
import { fill, h } from "./dom.js";
import { ask, grows, said } from "./parts.js";
import { enumWords, moment } from "./words.js";

const ACTIONS = {
  CREATE: "was added", UPDATE: "has another name or labels", ENROL: "got references from pictures", SET_ASIDE: "has a reference that is set aside", RESTORE: "has a reference back",
  DELETE_REFERENCE: "lost a reference for good", CONFIRM: "is in a track, somebody said", REJECT: "is not in a track, somebody said", MERGE: "was made one with another person", UNDO: "has a change that was undone", ERASE: "was erased",
  SPLIT: "got references that were another person's", IMPORT: "came from an export", DIFFERENT_PEOPLE: "is somebody else than a person who looks alike", NAME_VISITOR: "is a visitor, somebody said",
  JOIN_TRACKS: "show the same face, somebody said", PART_TRACKS: "show different people, somebody said",
};
const OF_TRACKS = ["JOIN_TRACKS", "PART_TRACKS"]; // about tracks of nobody in particular
const LINKS = 4; // tracks of an entry that are named
const FINAL = ["ERASE", "DELETE_REFERENCE"];

/** The ledger, newest first, of everybody or of one person. */
export function ledger(place, personId, after) {
  const list = h("ul.rows");
  let pageToken = "";
  const more = async () => {
    const answer = await call("GalleryService/ListLedger", { personId, pageSize: 50, pageToken });
    for (const entry of answer.entries ?? []) list.append(line(entry, after));
    pageToken = answer.nextPageToken ?? "";
    if (!list.childElementCount) list.append(h("li.dim", {}, "Nothing was changed yet."));
    return Boolean(pageToken);
  };
  fill(place, list);
  return more().then((goesOn) => { if (goesOn) grows(list, more); });
}

function line(entry, after) {
  const action = entry.action.replace("LEDGER_ACTION_", "");
  const person = entry.displayName ? h("a", { href: `/people/${encodeURIComponent(entry.personId)}` }, entry.displayName) : h("span.dim", {}, action === "ERASE" ? "Somebody" : "somebody who was erased");
  const who = OF_TRACKS.includes(action) ? tracksOf(entry) : person;
  const undone = Number(entry.undoneBy ?? 0);
  const button = may("enrol") && !undone && !FINAL.includes(action) ? h("button", { type: "button", onclick: () => undo(entry, action, after) }, action === "UNDO" ? "Do again" : "Undo") : null;
  return h("li.card.row", {}, h("span.grow", {}, h("strong", {}, who), ` ${ACTIONS[action] ?? enumWords(action)} `, entry.trackId ? h("a", { href: `/tracks/${entry.trackId}` }, "(track)") : null,
    h("br"), h("span.dim", {}, `${moment(entry.at)} \u00b7 by ${entry.actor ?? "somebody"} \u00b7 entry ${entry.entryId}${undone ? ` \u00b7 undone by entry ${undone}` : ""}${Number(entry.undoes ?? 0) ? ` \u00b7 undoes entry ${entry.undoes}` : ""}`)), button);
}

/** The tracks of an entry, as links. */
function tracksOf(entry) {
  const ids = [...(entry.trackIds ?? []), ...(entry.otherTrackIds ?? [])];
  const more = ids.length > LINKS ? `and ${ids.length - LINKS} more ` : "";
  return ["Tracks ", ids.slice(0, LINKS).flatMap((id) => [h("a", { href: `/tracks/${id}` }, id.slice(-6)), " "]), more];
}

async function undo(entry, action, after) {
  const place = h("div", {}, h("p.dim", {}, "Looking what would change"));
  ask(`Undo entry ${entry.entryId}?`, [h("p", {}, `The gallery will be as if this had not been done: ${OF_TRACKS.includes(action) ? "tracks" : (entry.displayName ?? "somebody")} ${ACTIONS[action] ?? ""}.`), place], {
    said: "Undo it",
    submit: async () => {
      const { entryId } = await call("GalleryService/Undo", { entryId: entry.entryId });
      said(`Entry ${entry.entryId} was undone.`, async () => { await call("GalleryService/Undo", { entryId }); await after(); });
      await after();
      return true;
    },
  });
  try {
    const answer = await call("GalleryService/Undo", { entryId: entry.entryId, dryRun: true });
    fill(place, changes(answer.changes ?? []));
  } catch (error) {
    fill(place, h("p.problem", {}, error.message));
  }
}
