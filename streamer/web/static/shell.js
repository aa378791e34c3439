// What every page has: theme, keys, the state of the whole, signing out. A page imports it first.
import { about, call } from "./api.js";
import { fill, h } from "./dom.js";
import "./search.js";
import { count } from "./words.js";

const KEYS = [
  ["?", "list the keys"],
  ["/", "search people, cameras and tracks"],
  ["g then l", "go to the live pictures"],
  ["Arrow keys", "move between items"],
  ["Enter", "open"],
  ["Esc", "close"],
];

/** Add lines to the list of keys of this page. */
export function keys(...lines) {
  KEYS.push(...lines);
}

/** Move the focus between items with the arrow keys: those that match a selector in an element. */
export function arrows(element, selector) {
  element.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const items = [...element.querySelectorAll(selector)];
    const place = items.indexOf(document.activeElement);
    if (!step || place < 0) return;
    let next = place + step;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const here = items[place].getBoundingClientRect();
      const candidates = items.filter((one) => step * (one.getBoundingClientRect().top - here.top) > here.height / 2);
      const distance = (one) =>
        Math.hypot(one.getBoundingClientRect().left - here.left, 4 * (one.getBoundingClientRect().top - here.top));
      next = items.indexOf(candidates.sort((a, b) => distance(a) - distance(b))[0]);
    }
    if (items[next]) {
      items[next].focus();
      event.preventDefault();
    }
  });
}

let counted = null; // {at, analyses, frames} when it was counted last

/** What could not be done in time, per second since the call before: {analyses, frames}. */
export async function behind() {
  const { crops = {}, frames = {} } = await call("SystemService/GetStats");
  const before = counted;
  counted = {
    at: Date.now(),
    analyses: Object.values(crops.lost ?? {}).reduce((sum, one) => sum + Number(one), Number(crops.skipped?.budget ?? 0)),
    frames: Number(frames.dropped?.overload ?? 0) + Number(frames.unsearched?.budget ?? 0),
  };
  const rate = (name) => Math.max(0, Math.round((1000 * (counted[name] - before[name])) / (counted.at - before.at)));
  return before && counted.at > before.at ? { analyses: rate("analyses"), frames: rate("frames") } : {};
}

/** Say in the bar how the whole is: cameras that are down, and what is not done in time, as `behind` returns it. */
export function showState(streams, workers, late = {}) {
  const state = document.getElementById("state");
  if (!state) return;
  const down = streams.filter((one) => ["STREAM_STATE_RECONNECTING", "STREAM_STATE_ERROR"].includes(one.state)).length;
  const parts = [
    streams.length ? `${count(streams.length, "camera")}${down ? `, ${down} down` : ""}` : "no camera",
    ...(workers === 0 ? ["no worker"] : late.analyses ? [`${count(late.analyses, "analysis", "analyses")}/s behind`] : []),
    ...(late.frames ? [`${count(late.frames, "frame")}/s behind`] : []),
  ];
  const sign = parts.length > 1 || down ? "attention" : streams.length ? "ok" : "off";
  const text = parts.join(" \u00b7 ");
  if (state.textContent !== text) fill(state, h(`span.sign.${sign}`, {}, text));
}

/** Look at the state of the whole, now and then; a page that knows the cameras calls showState itself. */
export function followState(everyMs = 5000) {
  const look = async () => {
    if (document.hidden) return;
    try {
      const [{ streams = [] }, { models = [] }, late] = await Promise.all([
        call("StreamService/ListStreams", { pageSize: 1000 }),
        call("SystemService/ListModels"),
        behind(),
      ]);
      const workers = models.reduce((sum, one) => sum + (one.workers ?? 0), 0);
      showState(streams, workers, late);
    } catch {
      fill(document.getElementById("state"), h("span.sign.wrong", {}, "the streamer does not answer"));
    }
  };
  look();
  setInterval(look, everyMs);
}

function help() {
  const close = h("button.primary", { type: "button", onclick: () => dialog.close() }, "Close");
  const lines = KEYS.flatMap(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)]);
  const dialog = h(
    "dialog",
    { "aria-label": "Keys", onclose: () => dialog.remove() },
    h("h1", {}, "Keys"),
    h("dl", {}, lines),
    close,
  );
  document.body.append(dialog);
  dialog.showModal();
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function switchTheme() {
  const theme = isDark() ? "light" : "dark";
  localStorage.setItem("theme", theme);
  document.documentElement.dataset.theme = theme;
  nameTheme();
}

function nameTheme() {
  const button = document.getElementById("theme");
  if (button) button.textContent = isDark() ? "Light" : "Dark";
}

async function signOut() {
  await fetch("/logout", { method: "POST", headers: { "x-csrf-token": about.csrf } });
  location.assign("/login");
}

let before = "";
document.addEventListener("keydown", (event) => {
  if (event.target.closest?.("input, textarea, select, dialog") || event.ctrlKey || event.metaKey || event.altKey)
    return;
  if (event.key === "?") help();
  else if (event.key === "/") {
    const search = document.getElementById("find-text");
    if (search) {
      search.focus();
      event.preventDefault();
    }
  } else if (before === "g") {
    const page = { l: "live", h: "history", p: "people", r: "recordings", c: "cameras", s: "system" }[event.key];
    const link = page && document.querySelector(`.bar nav a[href="/${page}"]`);
    if (link) link.click();
  }
  before = event.key;
});
document.getElementById("theme")?.addEventListener("click", switchTheme);
document.getElementById("help-button")?.addEventListener("click", help);
document.getElementById("sign-out")?.addEventListener("click", signOut);
nameTheme();
