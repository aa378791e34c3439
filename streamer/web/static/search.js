// The search of the bar: people by name, cameras, and tracks by id. `/` goes there.
import { all, call, may } from "./api.js";
import { combobox } from "./combo.js";
import { h } from "./dom.js";
import { fits, nameOf, personLine, readPeople } from "./persons.js";
import { trackLine } from "./tracks.js";

const SHOWN = 6; // of each kind
const KEPT_MS = 60e3; // what was read serves this long
const ID = /[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}/i;

const place = document.getElementById("find");
const input = h("input", { id: "find-text", "aria-label": "Search people, cameras and tracks", placeholder: "Search", title: "People, cameras, or the id of a track. Press / to come here." });
const kept = new Map();

function keep(name, read) {
  const before = kept.get(name);
  if (before && Date.now() - before.at < KEPT_MS) return before.found;
  const found = read();
  kept.set(name, { at: Date.now(), found });
  found.catch(() => kept.delete(name));
  return found;
}

async function people(text) {
  if (!may("enrol")) return [];
  const everybody = await keep("people", () => readPeople().catch((error) => {
    if (error.code === "FAILED_PRECONDITION") return []; // this streamer keeps no people
    throw error;
  }));
  const begins = (one) => nameOf(one).toLowerCase().startsWith(text.toLowerCase());
  const found = everybody.filter((one) => fits(one, text)).sort((a, b) => begins(b) - begins(a) || nameOf(a).localeCompare(nameOf(b)));
  return found.slice(0, SHOWN).map((one) => ({ href: `/people/${encodeURIComponent(one.personId)}`, node: personLine(one) }));
}

async function cameras(text) {
  const every = await keep("cameras", () => all("StreamService/ListStreams", { pageSize: 1000 }, "streams"));
  const found = every.map((one) => one.streamId).filter((one) => one.toLowerCase().includes(text.toLowerCase()));
  return found.slice(0, SHOWN).map((one) => ({ href: `/live/${encodeURIComponent(one)}`, node: h("span.person-line", {}, h("span.kind.dim", {}, "Camera"), h("strong.grow", {}, one)) }));
}

async function tracks(text) {
  const [id] = ID.exec(text) ?? [];
  if (!id) return [];
  try {
    const { track } = await call("TrackService/GetTrack", { trackId: id });
    return [{ href: `/tracks/${track.trackId}`, node: h("span.person-line", {}, h("span.kind.dim", {}, "Track"), h("strong.grow", {}, trackLine(track))) }];
  } catch (error) {
    if (error.code === "NOT_FOUND") return [];
    throw error;
  }
}

async function find(text) {
  if (!text) return [];
  const found = (await Promise.all([people(text), cameras(text), tracks(text)])).flat();
  if (may("biometric") && !ID.test(text)) found.push({ href: `/history?name=${encodeURIComponent(text)}`, node: h("span.person-line", {}, h("span.kind.dim", {}, "History"), h("span.grow", {}, `Faces named \u201c${text}\u201d`)) });
  return found;
}

if (place) {
  const combo = combobox(input, { label: "Found", find, first: true, chosen: ({ href }) => location.assign(href) });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented) return;
    input.value = "";
    input.blur();
  });
  place.append(combo.element);
}
