// The live page: a grid of cameras, or one camera with its faces beside it.
import { about, call } from "./api.js";
import { command, fill, h } from "./dom.js";
import { Faces } from "./faces.js";
import { arrows, behind, keys, showState } from "./shell.js";
import { Pictures } from "./socket.js";
import { Tile } from "./tile.js";
import { welcome } from "./welcome.js";
import { moment } from "./words.js";

const ASPECT = 16 / 9;
const SMALLEST = 240; // px, width of a tile
const GAP = 8;
const MODELS_MS = 5000;

const grid = document.getElementById("grid");
const above = document.getElementById("above");
const only = about.values.camera; // the one camera of this page; undefined: all
const tiles = new Map(); // by name
const visible = new Set(); // names of cameras in view
const faces = new Faces(document.getElementById("strip"), only ? document.getElementById("beside") : null);
let streams = [];
let workers = null; // number; null: not known yet
let late = {}; // what is not done in time
let noticed = ""; // the notice that is shown
let lost = null; // since when the streamer does not answer

const seeing = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) visible[isIntersecting ? "add" : "delete"](target.dataset.camera);
    ask();
  },
  { root: null, rootMargin: "100px" },
);

const pictures = new Pictures({
  frame: async (frame, jpeg) => tiles.get(frame.camera)?.show(frame, jpeg),
  cameras: (found) => {
    streams = found;
    update();
  },
  up: () => {
    lost = null;
    notice();
  },
  down: (why) => {
    lost ??= new Date();
    for (const tile of tiles.values()) tile.element.classList.add("down");
    notice(why);
  },
});

function update() {
  const shown = only ? streams.filter((one) => one.streamId === only) : streams;
  const names = new Set(shown.map((one) => one.streamId));
  for (const [name, tile] of tiles) {
    if (names.has(name)) continue;
    seeing.unobserve(tile.element);
    tile.element.remove();
    tiles.delete(name);
    visible.delete(name);
  }
  if (!shown.length) showNothing();
  else if (!grid.querySelector(".tile")) grid.replaceChildren();
  for (const stream of shown) {
    let tile = tiles.get(stream.streamId);
    if (!tile) {
      tile = new Tile(stream.streamId, (one, frame) => faces.see(one, frame));
      tile.element.dataset.camera = stream.streamId;
      tiles.set(stream.streamId, tile);
      grid.append(tile.element);
      seeing.observe(tile.element);
    }
    tile.see(stream);
  }
  faces.strip.hidden = !shown.length;
  notice();
  showState(streams, workers ?? 1, late);
}

function showNothing() {
  if (only) {
    fill(
      grid,
      h(
        "section.card",
        {},
        h("h1", {}, `There is no camera ${only}.`),
        h("p", {}, "It may have been removed."),
        h("a", { href: "/live" }, "Show all cameras"),
      ),
    );
  } else if (!grid.querySelector(".welcome")) fill(grid, welcome());
}

/** Choose the number of columns with which the tiles fill the window best; many of them scroll. */
function arrange() {
  const number = tiles.size;
  if (!number) return;
  const { clientWidth: width, clientHeight: height } = grid;
  const most = Math.max(1, Math.min(number, Math.floor((width + GAP) / (SMALLEST + GAP))));
  const across = (columns) => (width - GAP * (columns - 1)) / columns;
  const down = (columns) => (height - GAP * (Math.ceil(number / columns) - 1)) / Math.ceil(number / columns);
  let columns = 1;
  let row = across(1) / ASPECT;
  if (matchMedia("(max-width: 900px)").matches) {
    columns = Math.min(most, width > 520 ? 2 : 1);
    row = across(columns) / ASPECT;
  } else {
    const size = (one) => Math.min(across(one), down(one) * ASPECT);
    for (let one = 2; one <= most; one++) if (size(one) > size(columns)) columns = one;
    row = down(columns);
    if (size(columns) < SMALLEST) [columns, row] = [most, across(most) / ASPECT];
  }
  grid.style.setProperty("--columns", columns);
  grid.style.setProperty("--row", `${Math.floor(row)}px`);
  ask();
}

function ask() {
  const some = [...tiles.values()][0];
  if (!some) return;
  const width = Math.round(some.element.clientWidth * devicePixelRatio);
  pictures.watch(
    [...tiles.keys()].filter((name) => visible.has(name)),
    width,
  );
}

function notice(why = "") {
  const lines = [];
  if (lost) {
    const text = why || "the streamer does not answer";
    lines.push(
      h(
        "div.problem",
        { role: "alert" },
        h("strong", {}, `Since ${moment(lost.toISOString())}: ${text}.`),
        "The pictures are the last ones. This page goes on by itself.",
      ),
    );
  } else if (workers === 0 && streams.length) {
    lines.push(
      h(
        "div.notice",
        {},
        "No worker is connected, so faces get boxes but no age, expression or name. Start one:",
        command("swinface worker --connect ipc:///tmp/faceanalytics-workers.ipc --device cpu"),
        h("span.dim", {}, "The address is dispatch.bind of the streamer's configuration."),
      ),
    );
  }
  const text = lines.map((one) => one.textContent).join();
  if (text !== noticed) {
    noticed = text;
    above.hidden = !lines.length;
    fill(above, lines);
  }
  arrange();
}

async function lookAtWorkers() {
  if (!document.hidden && !lost) {
    const asked = [call("SystemService/ListModels"), behind()].map((one) => one.catch(() => ({})));
    const [{ models = [] }, found] = await Promise.all(asked);
    workers = models.reduce((sum, one) => sum + (one.workers ?? 0), 0);
    late = found;
    notice();
    showState(streams, workers, late);
  }
  setTimeout(lookAtWorkers, MODELS_MS);
}

new ResizeObserver(arrange).observe(grid);
addEventListener("resize", arrange);
arrows(grid, ".tile");
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && only && !document.querySelector("dialog[open]")) location.assign("/live");
});
keys(["Enter", "show a camera in full size"], ["Esc", "back to all cameras"]);
lookAtWorkers();
