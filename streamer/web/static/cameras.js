// The cameras: a row each, in words, with what can be done.
import { all, call, may, report } from "./api.js";
import { editCamera, pauseCamera, removeCamera } from "./camera.js";
import { command, fill, h } from "./dom.js";
import { head, number, page, query, search, seconds, tell } from "./parts.js";
import { arrows, behind, keys, showState } from "./shell.js";
import { cameraState, clockWords, count, duration, enumWords, moment } from "./words.js";

const AGAIN_MS = 2000;
const PICTURE_MS = 10000;
const DROPS = { max_fps: "above the limit", overload: "too busy", corrupt: "damaged" };
const LINK = { GOOD: ["ok", "good link"], FAIR: ["attention", "link is fair: it broke, or lost frames"], POOR: ["wrong", "poor link: frames are lost"] };

const rows = new Map(); // by name
const list = h("ul.rows", { "aria-label": "Cameras" });
const empty = h("div");
let text = query.get("q");
let streams = null;

const addButton = may("operate") ? h("button.primary", { type: "button", onclick: () => editCamera(null, look) }, "Add a camera") : null;
fill(page, head("Cameras", search("Search cameras", (value) => { text = value; query.set({ q: text }); show(); }, text), addButton), list, empty);
list.append(h("li.skeleton", {}, "Reading the cameras"));

function makeRow(stream) {
  const image = h("img", { width: 160, height: 90, alt: "", hidden: true });
  const link = h("a.picture", { href: `/live/${encodeURIComponent(stream.streamId)}`, "aria-label": `Watch ${stream.streamId} live` }, image);
  const cell = (name) => { const value = h("dd"); return [h("div", {}, h("dt", {}, name), value), value]; };
  const [rates, rate] = cell("Frames/s");
  const [drops, drop] = cell("Not searched");
  const [lasts, last] = cell("Last picture");
  const [clocks, clock] = cell("Clock");
  const state = h("p.sign");
  const about = h("p.dim.address");
  const details = h("dl.facts");
  const more = h("details", {}, h("summary", {}, "Details"), details, h("div.changed"));
  more.addEventListener("toggle", () => { if (more.open) changesOf(row); });
  const pause = h("button", { type: "button" });
  const row = { name: stream.streamId, image, link, state, about, rate, drop, last, clock, details, more, pause, stream, asked: 0 };
  pause.addEventListener("click", () => pauseCamera(row.stream, look));
  row.element = h("li.camera.card", { "data-camera": stream.streamId, tabIndex: 0 }, link,
    h("div.what", {}, h("h2", {}, stream.streamId), state, about),
    h("dl.numbers", {}, rates, drops, lasts, clocks),
    may("operate") ? h("div.row.buttons", {},
      h("button", { type: "button", onclick: () => editCamera(row.stream, look) }, "Edit"), pause,
      h("button", { type: "button", onclick: () => removeCamera(row.stream, look) }, "Remove")) : null,
    more);
  row.element.addEventListener("keydown", (event) => { if (event.key === "Enter" && event.target === row.element) link.click(); });
  return row;
}

function showRow(row, stream) {
  row.stream = stream;
  const { sign, text: said, running } = cameraState(stream);
  row.state.className = `sign ${sign}`;
  const [linkSign, linkWords] = LINK[(stream.linkQuality ?? "").replace("LINK_QUALITY_", "")] ?? [];
  tell(row.state, `${said}${running && linkSign && linkSign !== "ok" ? `, ${linkWords}` : ""}${stream.overloaded ? ", more than this machine can search" : ""}`);
  tell(row.about, [stream.settings?.uri || "address in a file", stream.frameWidth && `${stream.frameWidth}\u00d7${stream.frameHeight}`, stream.decoder].filter(Boolean).join(" \u00b7 "));
  tell(row.rate, running ? `${(stream.fpsIn ?? 0).toFixed(1)} in, ${(stream.fpsAnalysed ?? 0).toFixed(1)} searched` : "\u2013");
  const drops = Object.entries(stream.framesDropped ?? {}).filter(([, one]) => Number(one));
  const lost = Number(stream.framesMissing ?? 0);
  tell(row.drop, [...drops.map(([why, one]) => `${number(one)} ${DROPS[why] ?? enumWords(why)}`), lost && `${number(lost)} never came`].filter(Boolean).join(", ") || "nothing dropped");
  tell(row.last, stream.lastFrameAt ? moment(stream.lastFrameAt) : "\u2013");
  tell(row.clock, clockWords(stream.clockSource) || "\u2013");
  row.clock.title = Number.isNaN(seconds(stream.clockOffset)) ? "" : `Pictures arrive ${seconds(stream.clockOffset).toFixed(2)} s after the camera's own time`;
  tell(row.pause, stream.state === "STREAM_STATE_PAUSED" ? "Resume" : "Pause");
  if (row.more.open) showDetails(row);
  showPicture(row, running);
}

function showPicture(row, running) {
  row.link.classList.toggle("down", !running);
  if (!may("biometric") || document.hidden || performance.now() - row.asked < (row.image.hidden ? AGAIN_MS : PICTURE_MS) - 100 || (row.asked && !running && !row.image.hidden)) return;
  row.asked = performance.now() || 1;
  const next = new Image();
  next.onload = () => { row.image.src = next.src; row.image.hidden = false; row.link.classList.add("shown"); };
  next.src = `/cameras/${encodeURIComponent(row.name)}/picture.jpg?${Date.now()}`;
}

function showDetails(row) {
  const one = row.stream;
  const unsearched = Object.entries(one.framesUnsearched ?? {}).map(([why, frames]) => `${number(frames)} ${enumWords(why)}`).join(", ");
  const facts = [
    ["Frames", `${number(one.framesDecoded)} decoded, ${number(one.framesAnalysed)} searched`],
    ["Nothing new", unsearched || "\u2013"],
    ["Connections", `${count(one.connects ?? 0, "connection")}, lost ${count(one.disconnects ?? 0, "time")}, stopped delivering ${count(one.stalls ?? 0, "time")}`],
    ["Delay", Number.isNaN(seconds(one.frameAge)) ? "\u2013" : `${Math.round(1000 * seconds(one.frameAge))} ms from arrival to the search`],
    ["Next try", one.nextRetryAt ? moment(one.nextRetryAt) : "\u2013"],
    ["Comes from", one.origin === "STREAM_ORIGIN_CONFIGURATION" ? "the configuration file: changes here last until the streamer starts again" : "this page or the API: it returns after a restart"],
    ["For other programs", h("a", { href: `/cameras/${encodeURIComponent(one.streamId)}/mjpeg` }, "MJPEG")],
  ];
  const said = JSON.stringify(facts.slice(0, -1));
  if (row.said === said) return;
  row.said = said;
  fill(row.details, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

/** Who changed a camera in the last day, for those who may read that. */
async function changesOf(row) {
  showDetails(row);
  const place = row.more.querySelector(".changed");
  if (!may("admin")) return;
  const { entries = [] } = await call("InspectionService/ListAuditEntries", { pageSize: 500 }).catch(() => ({}));
  const since = Date.now() - 86400e3;
  const some = entries.filter((one) => one.target === row.name && new Date(one.at) > since).slice(0, 20);
  fill(place, h("h3", {}, "Changes of the last day"), some.length
    ? h("ul.plain", {}, some.map((one) => h("li", {}, `${moment(one.at)} \u00b7 ${one.actor} \u00b7 ${one.method.split("/").pop()} \u00b7 ${one.outcome}`)))
    : h("p.dim", {}, "Nobody changed it."));
}

function show() {
  const shown = streams.filter((one) => `${one.streamId} ${one.settings?.uri ?? ""}`.toLowerCase().includes(text.toLowerCase()));
  const names = new Set(shown.map((one) => one.streamId));
  for (const [name, row] of rows) {
    if (names.has(name)) continue;
    row.element.remove();
    rows.delete(name);
  }
  list.querySelector(".skeleton")?.remove();
  shown.forEach((stream, place) => {
    let row = rows.get(stream.streamId);
    if (!row) {
      row = makeRow(stream);
      rows.set(stream.streamId, row);
    }
    showRow(row, stream);
    if (list.children[place] !== row.element) list.insertBefore(row.element, list.children[place] ?? null);
  });
  const none = !streams.length ? teach() : !shown.length ? h("p.card.dim", {}, `No camera has \u201c${text}\u201d in its name or address.`) : null;
  if (!none || empty.dataset.kind !== String(streams.length)) fill(empty, none);
  empty.dataset.kind = none ? String(streams.length) : "";
}

function teach() {
  return h("section.card.teach", {}, h("h2", {}, "No camera yet"),
    h("p", {}, "A camera is an address. Most cameras show theirs in their settings, under RTSP or ONVIF:"),
    h("pre", {}, "rtsp://user:password@192.168.1.20:554/stream1\nrtsps://camera.example/h264?channel=2"),
    addButton ? h("p", {}, h("button.primary", { type: "button", onclick: () => editCamera(null, look) }, "Add a camera")) : h("p.dim", {}, "Adding one needs a token with the scope operate."),
    h("h2", {}, "Just to see it work"), h("p", {}, "This plays a clip with real faces as a camera:"), command("make demo KEEP=1"));
}

async function look() {
  try {
    const [found, models, late] = await Promise.all([all("StreamService/ListStreams", { pageSize: 1000 }, "streams"), call("SystemService/ListModels"), behind()]);
    streams = found;
    show();
    showState(streams, (models.models ?? []).reduce((sum, one) => sum + (one.workers ?? 0), 0), late);
    const notices = document.getElementById("notices");
    if (notices.querySelector(".unreachable")) notices.replaceChildren();
  } catch (error) {
    report(error);
    document.querySelector("#notices .problem")?.classList.add("unreachable");
  }
}

async function follow() {
  if (!document.hidden) await look();
  setTimeout(follow, AGAIN_MS);
}

arrows(list, ".camera");
keys(["Enter", "watch the camera live"]);
follow();
