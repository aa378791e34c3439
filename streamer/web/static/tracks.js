// Faces of tracks as cards, as history, people and recordings show them.
import { h } from "./dom.js";
import { face } from "./parts.js";
import { ageText, clockWords, colourOf, looks, moment, who } from "./words.js";

/** When a track began: by its clock, else by its id, which has the time of its birth. */
export function begun(track) {
  if (track.firstCapturedAt) return new Date(track.firstCapturedAt);
  return new Date(Number.parseInt(track.trackId.replaceAll("-", "").slice(0, 12), 16));
}

/** When a track was last seen. */
export function ended(track) {
  if (track.lastCapturedAt) return new Date(track.lastCapturedAt);
  return new Date(begun(track).getTime() + 1000 * ((track.lastSeenS ?? 0) - (track.firstSeenS ?? 0)));
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });

/** "Today", "Yesterday", or the day. */
export function dayOf(date) {
  const day = (ago) => new Date(Date.now() - ago * 86400e3).toDateString();
  return date.toDateString() === day(0) ? "Today" : date.toDateString() === day(1) ? "Yesterday" : DAY.format(date);
}

/** The expression with the largest share of the time, in words. */
export function mainLooks(track) {
  const shares = [...(track.expression?.distribution ?? [])].sort((a, b) => (b.share ?? 0) - (a.share ?? 0));
  return shares.length ? looks(shares[0].expression) : "";
}

/** Who a track shows, or its number: the name on its card. */
export function nameOfTrack(track) {
  const found = who(track.decision);
  if (found.known || found.text.startsWith("maybe") || found.text === "unknown") return found.text;
  return `#${track.number ?? 0}`;
}

/** A track in one line: who, where and when. */
export const trackLine = (track) => `${nameOfTrack(track)}, ${track.streamId}, ${moment(begun(track).toISOString())}`;

/** A card that leads to the page of a track. `jpeg`: its picture in base64; undefined: none is kept. */
export function trackCard(track, jpeg, { camera = true } = {}) {
  const decision = who(track.decision);
  const name = nameOfTrack(track);
  const age = ageText(track.age);
  const at = begun(track);
  const live = !track.final;
  const expression = mainLooks(track);
  const title = [name, moment(at.toISOString()), decision.detail, age, expression && `appears ${expression}`, clockWords(track.clockSource) && `time: ${track.firstCapturedAt ? clockWords(track.clockSource) : "when it arrived here"}`].filter(Boolean).join(" \u00b7 ");
  const picture = face(jpeg ? `data:image/jpeg;base64,${jpeg}` : "", "", 112, live ? "in view" : "no picture");
  return h("li", { "data-track": track.trackId, "data-revision": String(track.revision ?? 0) },
    h("a", { href: `/tracks/${track.trackId}`, title, style: { "--track": colourOf(track.number ?? 0) } }, picture,
      h("strong", {}, name), h("span.line.dim", {}, age || (expression && `appears ${expression}`) || "not described"),
      h("span.line", {}, live ? h("span.sign.ok", {}, camera ? track.streamId : "in view") : [camera ? `${track.streamId} \u00b7 ` : "", TIME.format(at)])));
}
