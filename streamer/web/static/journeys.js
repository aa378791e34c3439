// Journeys: the ways of a person or visitor over the cameras, newest first, with links to the tracks.
import { all, words } from "./api.js";
import { fill, h } from "./dom.js";
import { seconds } from "./parts.js";
import { dayOf } from "./tracks.js";
import { clockWords, count, duration } from "./words.js";

const PERIODS = [["1", "last day"], ["7", "last 7 days"], ["30", "last 30 days"], ["", "all that is kept"]];
const AGAIN_MS = 15000;
const LINKS = 8; // tracks of a stop that are shown at once
const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** A section with the journeys. `of`: {personIds} or {visitorIds}. Returns {element, read}. */
export function journeys(of) {
  const period = h("select", { "aria-label": "Which journeys", onchange: () => read() }, PERIODS.map(([days, text]) => h("option", { value: days }, text)));
  period.value = "7";
  const list = h("ol.journeys", {}, h("li.dim", {}, "Reading the journeys"));
  let turn = 0;
  async function read(quiet = false) {
    const mine = ++turn;
    const since = period.value && { seenSince: new Date(Date.now() - 86400e3 * Number(period.value)).toISOString() };
    try {
      const found = await all("VisitorService/ListJourneys", { ...of, ...since, pageSize: 1000 }, "journeys");
      if (mine !== turn) return;
      if (quiet && (list.contains(document.activeElement) || list.querySelector("details[open]"))) return; // nothing moves under the focus
      fill(list, found.length ? found.toReversed().map(journey) : h("li.dim", {}, "No journey in this time."));
    } catch (error) {
      if (mine === turn && !quiet) fill(list, h("li", {}, words(error)));
    }
  }
  const element = h("section.card", {}, h("div.head", {}, h("h2", {}, "Journeys"), period), list);
  setInterval(() => { if (!document.hidden && period.value) read(true); }, AGAIN_MS);
  return { element, read };
}

function journey(way) {
  const stops = stopsOf(way.appearances ?? []);
  const [first, last] = [stops[0], stops.at(-1)];
  const facts = [`${time(first.from)} \u2013 ${last.present ? "now" : time(last.to)}`, count(way.streams ?? 1, "camera"), duration(seconds(way.duration) || 0)];
  return h("li", {}, h("h3", {}, dayOf(first.from)), h("p.dim", {}, facts.join(" \u00b7 ")),
    h("ol.stops", { "aria-label": `Journey at ${time(first.from)}` }, stops.map((one, place) => stop(one, stops[place - 1]))));
}

/** Appearances one after the other at the same camera are one stop. */
function stopsOf(appearances) {
  const stops = [];
  for (const one of appearances) {
    const [from, to] = [new Date(one.firstSeenAt), new Date(one.lastSeenAt)];
    const before = stops.at(-1);
    if (before?.camera === one.streamId) {
      before.tracks.push(one);
      before.to = to > before.to ? to : before.to;
      before.present ||= Boolean(one.present);
    } else stops.push({ camera: one.streamId, from, to, present: Boolean(one.present), tracks: [one] });
  }
  return stops;
}

function stop(one, before) {
  const gap = before && (one.from - before.to) / 1000;
  const [newest] = one.tracks;
  const unsure = newest.uncertainty === undefined ? "how far it is off is not known" : `\u00b1 ${seconds(newest.uncertainty)} s`;
  const link = (track) => h("a", { href: `/tracks/${track.trackId}`, title: `${TIME.format(new Date(track.firstSeenAt))} \u2013 ${TIME.format(new Date(track.lastSeenAt))}, ${clockWords(track.clockSource)}` }, one.tracks.length > 1 ? time(new Date(track.firstSeenAt)) : "track");
  const more = one.tracks.slice(LINKS);
  return h(one.present ? "li.present" : "li", {},
    before ? h("span.gap.dim", {}, gap >= 0 ? `${duration(gap)} later` : "at the same time") : null,
    h("span.when", { title: [clockWords(newest.clockSource), unsure].filter(Boolean).join(", ") }, `${time(one.from)} \u2013 ${one.present ? "now" : time(one.to)}`),
    h("a.where", { href: `/live/${encodeURIComponent(one.camera)}` }, one.camera), h("span.dim", {}, duration((one.to - one.from) / 1000)),
    h("span.links", {}, one.tracks.length > 1 ? `${count(one.tracks.length, "track")}: ` : "", one.tracks.slice(0, LINKS).flatMap((track) => [link(track), " "]), more.length ? h("details", {}, h("summary", {}, `${more.length} more`), more.flatMap((track) => [link(track), " "])) : null));
}

const time = (date) => TIME.format(date);
