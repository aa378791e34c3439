// The search of the bar: people by name, cameras, and tracks and visitors by id. `/` goes there.
import { all, call, may } from "./api.js";
import { combobox } from "./combo.js";
import { h } from "./dom.js";
import { nameOf, personLine } from "./persons.js";
import { short } from "./propose.js";
import { trackLine } from "./tracks.js";

const SHOWN = 6; // of each kind
const PAUSE_MS = 150; // a text that is being typed is not looked for letter by letter
const KEPT_MS = 60e3; // what was read serves this long
const ID = /[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}/i;
const VISITOR = /^(?:visitor )?([0-9a-f]{6})$/i; // as a visitor is called on the pages

const place = document.getElementById("find");
const input = h("input", { id: "find-text", "aria-label": "Search people, cameras and tracks", placeholder: "Search", title: "People, cameras, visitors, or the id of a track. Press / to come here." });
let known = { at: 0, cameras: null };

/** What is found, or nothing if there is no such thing, or if this streamer keeps none of it. */
async function some(found) {
  try {
    return await found;
  } catch (error) {
    if (["NOT_FOUND", "FAILED_PRECONDITION"].includes(error.code)) return {};
    throw error;
  }
}

async function people(text) {
  if (!may("enrol") || !may("biometric")) return [];
  const { people = [] } = await some(call("GalleryService/ListPeople", { text, pageSize: SHOWN }));
  return people.map((one) => ({ href: `/people/${encodeURIComponent(one.personId)}`, node: personLine(one) }));
}

async function visitors(text) {
  const [id, suffix] = [ID.exec(text)?.[0], VISITOR.exec(text)?.[1]];
  if (!may("biometric") || (!id && !suffix)) return [];
  const { visitors = [] } = await some(call("VisitorService/ListVisitors", { idSuffix: (id ?? suffix).toLowerCase(), includeNamed: true, pageSize: SHOWN }));
  return visitors.map((one) => ({ href: `/visitors/${one.visitorId}`, node: h("span.person-line", {}, h("span.kind.dim", {}, "Visitor"), h("strong.grow", {}, one.person || short(one.visitorId))) }));
}

async function cameras(text) {
  if (Date.now() - known.at > KEPT_MS) known = { at: Date.now(), cameras: await all("StreamService/ListStreams", { pageSize: 1000 }, "streams") };
  const every = known.cameras;
  const found = every.map((one) => one.streamId).filter((one) => one.toLowerCase().includes(text.toLowerCase()));
  return found.slice(0, SHOWN).map((one) => ({ href: `/live/${encodeURIComponent(one)}`, node: h("span.person-line", {}, h("span.kind.dim", {}, "Camera"), h("strong.grow", {}, one)) }));
}

async function tracks(text) {
  const [id] = ID.exec(text) ?? [];
  if (!id) return [];
  const { track } = await some(call("TrackService/GetTrack", { trackId: id }));
  return track ? [{ href: `/tracks/${track.trackId}`, node: h("span.person-line", {}, h("span.kind.dim", {}, "Track"), h("strong.grow", {}, trackLine(track))) }] : [];
}

async function find(text) {
  if (!text) return [];
  const parts = await Promise.allSettled([people(text), cameras(text), tracks(text), visitors(text)]);
  const failed = parts.find((one) => one.status === "rejected");
  const found = parts.flatMap((one) => one.value ?? []);
  if (failed && !found.length) throw failed.reason;
  if (may("biometric") && !ID.test(text)) found.push({ href: `/history?name=${encodeURIComponent(text)}`, node: h("span.person-line", {}, h("span.kind.dim", {}, "History"), h("span.grow", {}, `Faces named \u201c${text}\u201d`)) });
  return found;
}

if (place) {
  const combo = combobox(input, { label: "Found", find, first: true, pauseMs: PAUSE_MS, chosen: ({ href }) => location.assign(href) });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented) return;
    input.value = "";
    input.blur();
  });
  place.append(combo.element);
}
