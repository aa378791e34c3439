// The history: faces by day, newest first, with filters that are part of the address.
import { about, all, call, may, report } from "./api.js";
import { fill, h } from "./dom.js";
import { grows, head, page, query } from "./parts.js";
import { arrows, followState, keys } from "./shell.js";
import { begun, dayOf, trackCard } from "./tracks.js";
import { count, looks } from "./words.js";

const PAGE = 60; // tracks that are read at once
const MOST = 200; // faces that an open page keeps while nobody scrolls
const AGAIN_MS = 5000;
const HOUR = 3600e3;
const MOST_BARS = 96; // more hours than these are shown by day
const LOOKS = ["HAPPINESS", "NEUTRAL", "SADNESS", "SURPRISE", "ANGER", "FEAR", "DISGUST"];
const TIMES = { "": "any time", hour: "last hour", today: "today", yesterday: "yesterday", week: "last 7 days", custom: "between" };

const filters = {
  camera: query.all("camera"), when: query.get("when"), from: query.get("from"), to: query.get("to"),
  youngest: query.get("youngest"), oldest: query.get("oldest"), looks: query.all("looks"), name: query.get("name"), unknown: query.get("unknown"),
};
const chips = h("form.chips-bar", { "aria-label": "Filters", onsubmit: (event) => event.preventDefault() });
const hours = h("section.hours", { "aria-label": "Faces by hour" });
const days = h("div.days");
const csv = h("a.button", { download: "" }, "CSV");
const parquet = about.values.parquet ? h("a.button", { download: "" }, "Parquet") : null;
const total = h("span.dim", { role: "status" });
fill(page, head("History", total, may("read") ? h("span.row", {}, h("span.dim", {}, "Export"), csv, parquet) : null), chips, hours, days);

/** The filter of the API for what is chosen. */
function wanted() {
  const [since, before] = range();
  return {
    ...(filters.camera.length && { streamIds: filters.camera }),
    ...(since && { seenSince: since.toISOString() }), ...(before && { seenBefore: before.toISOString() }),
    ...(filters.youngest && { minAgeYears: Number(filters.youngest) }), ...(filters.oldest && { maxAgeYears: Number(filters.oldest) }),
    ...(filters.looks.length && { expressions: filters.looks.map((one) => `EXPRESSION_${one}`) }),
    ...(filters.name && { persons: [filters.name] }), ...(filters.unknown && { unnamed: true }),
  };
}

function range() {
  const midnight = new Date(new Date().setHours(0, 0, 0, 0));
  const date = (text) => (text && !Number.isNaN(Date.parse(text)) ? new Date(text) : null);
  return {
    hour: () => [new Date(Date.now() - HOUR), null], today: () => [midnight, null],
    yesterday: () => [new Date(midnight - 24 * HOUR), midnight], week: () => [new Date(Date.now() - 168 * HOUR), null],
    custom: () => [date(filters.from), date(filters.to)],
  }[filters.when]?.() ?? [null, null];
}

const chip = (label, on, ...inputs) => h(`span.filter${on ? ".on" : ""}`, {}, h("span", { "aria-hidden": "true" }, label), inputs);

function showChips(cameras, names) {
  const change = (name, value) => { filters[name] = value; begin(); };
  const select = (label, name, options, value, many = false) => {
    const input = h("select", { "aria-label": label, onchange: (event) => change(name, many ? [event.target.value].filter(Boolean) : event.target.value) },
      Object.entries(options).map(([key, text]) => h("option", { value: key, selected: key === value }, text)));
    input.value = value;
    return input;
  };
  const number = (label, name) => h("input", { type: "number", min: 0, max: 120, "aria-label": label, placeholder: name === "youngest" ? "0" : "100", value: filters[name], onchange: (event) => change(name, event.target.value) });
  const moment = (label, name) => h("input", { type: "datetime-local", "aria-label": label, value: filters[name], onchange: (event) => change(name, event.target.value) });
  const custom = filters.when === "custom";
  const any = Object.values(filters).some((one) => one.length);
  fill(chips,
    chip("Camera", filters.camera.length, select("Camera", "camera", { "": "all", ...Object.fromEntries([...new Set([...cameras, ...filters.camera])].map((one) => [one, one])) }, filters.camera[0] ?? "", true)),
    chip("Seen", filters.when, select("Time", "when", TIMES, filters.when), custom ? [moment("From", "from"), "and", moment("To", "to")] : null),
    chip("Age", filters.youngest || filters.oldest, number("Youngest age", "youngest"), "to", number("Oldest age", "oldest")),
    chip("Appears", filters.looks.length, select("Expression", "looks", { "": "any", ...Object.fromEntries(LOOKS.map((one) => [one, looks(one)])) }, filters.looks[0] ?? "", true)),
    may("biometric") ? chip("Name", filters.name, h("input.name", { type: "search", list: "names", "aria-label": "Name of a person", placeholder: "anybody", value: filters.name, onchange: (event) => { if (event.target.value) filters.unknown = ""; change("name", event.target.value.trim()); } }),
      h("datalist", { id: "names" }, names.map((one) => h("option", { value: one })))) : null,
    h(`label.filter${filters.unknown ? ".on" : ""}`, {}, h("input", { type: "checkbox", checked: Boolean(filters.unknown), onchange: (event) => { if (event.target.checked) filters.name = ""; change("unknown", event.target.checked ? "1" : ""); } }), "Unknown only"),
    any ? h("button.quiet", { type: "button", onclick: () => { for (const name of Object.keys(filters)) filters[name] = Array.isArray(filters[name]) ? [] : ""; begin(); } }, "Clear") : null);
}

let cameras = [];
let names = [];
let growing = null;
let turn = 0; // grows with each change of the filters
let pageToken = "";

async function begin() {
  const mine = ++turn;
  query.set(filters);
  const focused = document.activeElement?.getAttribute?.("aria-label");
  showChips(cameras, names);
  if (focused) chips.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
  const filter = wanted();
  const text = encodeURIComponent(JSON.stringify(filter));
  csv.href = `/history.csv?filter=${text}`;
  if (parquet) parquet.href = `/history.parquet?filter=${text}`;
  growing?.stop();
  fill(days, h("div.skeleton", {}, "Reading the history"));
  countHours(filter, mine);
  try {
    const answer = await read(filter, "", mine);
    if (mine !== turn) return;
    days.replaceChildren();
    add(answer);
    if (!answer.tracks?.length) nothing();
    else if (pageToken) growing = grows(days, () => more(filter, mine));
    document.getElementById("notices").replaceChildren();
  } catch (error) {
    days.replaceChildren();
    if (error.code === "FAILED_PRECONDITION") fill(days, h("section.card.teach", {}, h("h2", {}, "This streamer keeps no history"), h("p", {}, error.message), h("a.button", { href: "/live" }, "Look at the live pictures")));
    else report(error);
  }
}

async function read(filter, token, mine) {
  const answer = await call("TrackService/ListTracks", { past: true, newestFirst: true, includeFace: true, pageSize: PAGE, pageToken: token, filter });
  if (mine === turn) pageToken = answer.nextPageToken ?? "";
  return answer;
}

async function more(filter, mine) {
  const answer = await read(filter, pageToken, mine);
  if (mine === turn) add(answer);
  return mine === turn && Boolean(pageToken);
}

function add({ tracks = [], facesJpeg = {} }) {
  for (const track of tracks) group(begun(track)).append(trackCard(track, facesJpeg[track.trackId]));
}

/** The list of a day, which is made at its place. */
function group(date) {
  const day = date.toDateString();
  const found = days.querySelector(`[data-day="${day}"] ul`);
  if (found) return found;
  const list = h("ul.faces");
  const section = h("section", { "data-day": day, "data-at": String(new Date(day).getTime()) }, h("h2.day", {}, dayOf(date)), list);
  const next = [...days.querySelectorAll("section")].find((one) => Number(one.dataset.at) < new Date(day).getTime());
  days.insertBefore(section, next ?? null);
  arrows(list, "a");
  return list;
}

function nothing() {
  const filtered = Object.values(filters).some((one) => one.length);
  fill(days, h("section.card.teach", {}, h("h2", {}, filtered ? "Nobody fits these filters" : "Nobody was seen yet"),
    h("p", {}, filtered ? "Widen the time or the ages, or clear the filters above." : "Faces appear here as soon as a camera sees one, the newest first."),
    filtered ? null : h("p", {}, h("a.button", { href: "/cameras" }, "Look at the cameras"))));
}

async function countHours(filter, mine) {
  const { hours: found = [] } = await call("TrackService/CountTracks", { filter }).catch(() => ({}));
  if (mine !== turn) return;
  const counts = new Map(found.map((one) => [new Date(one.hour).getTime(), Number(one.tracks)]));
  const sum = [...counts.values()].reduce((one, two) => one + two, 0);
  total.textContent = sum ? count(sum, "face") : ""; // those still in view are not counted
  if (!counts.size) { fill(hours); return; }
  const [since, before] = range();
  const last = Math.floor(Math.min(Date.now(), (before ?? new Date()).getTime() - 1) / HOUR) * HOUR;
  const first = Math.min(Math.min(...counts.keys()), last);
  const begins = since ? Math.max(first, Math.floor(since.getTime() / HOUR) * HOUR) : Math.min(first, last - 23 * HOUR);
  const byDay = (last - begins) / HOUR > MOST_BARS;
  const bars = byDay ? daily(counts, begins, last) : Array.from({ length: (last - begins) / HOUR + 1 }, (_, place) => [begins + place * HOUR, counts.get(begins + place * HOUR) ?? 0, HOUR]);
  const top = Math.max(...bars.map(([, one]) => one), 1);
  const words = (at) => new Date(at).toLocaleString(undefined, byDay ? { day: "numeric", month: "short" } : { weekday: "short", hour: "2-digit", minute: "2-digit" });
  const local = (at) => new Date(at - new Date(at).getTimezoneOffset() * 60e3).toISOString().slice(0, 16);
  const choose = (at, length) => (event) => {
    event.preventDefault();
    Object.assign(filters, { when: "custom", from: local(at), to: local(at + length) });
    begin();
  };
  const list = h("ul.bars", {}, bars.map(([at, one, length], place) => h("li", {}, h("a", {
    href: "#", tabIndex: place === bars.length - 1 ? 0 : -1, title: `${words(at)}: ${count(one, "face")}`, "aria-label": `${words(at)}: ${count(one, "face")}`,
    style: { "--h": `${(100 * one) / top}%`, "--least": one ? "2px" : "0" }, onclick: choose(at, length),
  }))));
  arrows(list, "a");
  fill(hours, list, h("p.scale", {}, h("span", {}, words(bars[0][0])), h("span", {}, `at most ${top} an ${byDay ? "day" : "hour"}`.replace("an day", "a day")), h("span", {}, words(bars.at(-1)[0]))));
}

function daily(counts, first, last) {
  const bars = [];
  for (let day = new Date(new Date(first).setHours(0, 0, 0, 0)); day.getTime() <= last; day = new Date(day.getFullYear(), day.getMonth(), day.getDate() + 1)) {
    const next = new Date(day.getFullYear(), day.getMonth(), day.getDate() + 1).getTime();
    let sum = 0;
    for (const [at, one] of counts) if (at >= day.getTime() && at < next) sum += one;
    bars.push([day.getTime(), sum, next - day.getTime()]);
  }
  return bars;
}

/** Show what is new while the page is at its beginning; further down nothing moves. */
async function follow() {
  const mine = turn;
  if (!document.hidden && scrollY < 120 && !days.querySelector(".skeleton")) {
    const answer = await call("TrackService/ListTracks", { past: true, newestFirst: true, includeFace: true, pageSize: 24, filter: wanted() }).catch(() => ({}));
    const tracks = answer.tracks ?? [];
    if (mine === turn && tracks.length) {
      if (days.querySelector(".teach")) days.replaceChildren();
      for (const track of tracks.toReversed()) {
        const shown = days.querySelector(`[data-track="${CSS.escape(track.trackId)}"]`);
        const same = shown?.dataset.revision === String(track.revision ?? 0) && shown.querySelector("img");
        if (same || shown?.contains(document.activeElement)) continue;
        const card = trackCard(track, answer.facesJpeg?.[track.trackId]);
        if (shown) shown.replaceWith(card);
        else if (!tooOld(track)) group(begun(track)).prepend(card);
      }
    }
    if (days.querySelectorAll("[data-track]").length > MOST && !days.contains(document.activeElement)) await shorten();
  }
  setTimeout(follow, AGAIN_MS);
}

/** Show the first page alone again, so that a page that stays open for days does not grow. */
async function shorten() {
  const mine = ++turn;
  const filter = wanted();
  growing?.stop();
  const answer = await read(filter, "", mine).catch(() => null);
  if (mine !== turn) return;
  if (answer && scrollY < 120) {
    days.replaceChildren();
    add(answer);
  }
  growing = pageToken ? grows(days, () => more(filter, mine)) : null;
}

/** Whether a track is older than the newest that is shown: then it was left out, or comes further down. */
function tooOld(track) {
  const newest = days.querySelector("[data-track]")?.dataset.track;
  return Boolean(newest) && track.trackId < newest;
}

addEventListener("popstate", () => location.reload());
showChips([], []);
begin();
followState();
setTimeout(follow, AGAIN_MS);
const [streams, people] = await Promise.all([
  all("StreamService/ListStreams", { pageSize: 1000 }, "streams").catch(() => []),
  may("enrol") ? all("GalleryService/ListPeople", { pageSize: 1000 }, "people").catch(() => []) : [],
]);
cameras = streams.map((one) => one.streamId);
names = [...new Set(people.map((one) => one.displayName).filter(Boolean))].sort();
if (!chips.contains(document.activeElement)) showChips(cameras, names);
