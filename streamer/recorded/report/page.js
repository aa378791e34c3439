"use strict";
// Filters, sorting, zoom, and jumps into the video. The page is complete without it.
(() => {
  const TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];  // s
  const APART = 90;  // px between ticks, at least
  const CLOSEST = 1000;  // px per second, at most

  const all = (root, selector) => [...root.querySelectorAll(selector)];
  const clock = (seconds) => {
    const tenths = Math.round(seconds * 10), hours = Math.floor(tenths / 36000);
    const minutes = Math.floor(tenths / 600) % 60, rest = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
    return (hours ? `${hours}:${String(minutes).padStart(2, "0")}` : `${minutes}`) + `:${rest}`;
  };

  // who is shown, and in which order
  function filters(chapter) {
    const form = chapter.querySelector(".filters");
    if (!form) return;
    const grid = chapter.querySelector(".cards"), canvas = chapter.querySelector(".canvas");
    const playhead = chapter.querySelector(".playhead"), nobody = chapter.querySelector(".nobody");
    const lines = new Map(all(canvas, ".person").map((line) => [line.dataset.row, line]));
    const people = all(grid, ".card").map((card) => ({
      card, line: lines.get(card.dataset.row), text: card.dataset.text, title: card.querySelector("h4").textContent,
      age: card.dataset.age === undefined ? null : Number(card.dataset.age), seen: Number(card.dataset.seen),
      shown: (card.dataset.shown || "").split(" "), shots: (card.dataset.shots || "").split(" "),
      described: card.dataset.described === "yes", first: Number(card.dataset.first),
    }));
    const number = (name) => form.elements[name]?.value ? Number(form.elements[name].value) : null;
    const orders = {
      first: (one, two) => one.first - two.first,
      name: (one, two) => one.title.localeCompare(two.title, undefined, { numeric: true }),
      age: (one, two) => (one.age ?? 1e9) - (two.age ?? 1e9),
      seen: (one, two) => two.seen - one.seen,
    };
    // "person 1" is not person 12
    const holds = (text, wanted) => {
      const at = text.indexOf(wanted);
      return at >= 0 && !(/\d$/.test(wanted) && /^\d/.test(text.slice(at + wanted.length)));
    };
    function apply() {
      const text = form.elements.text.value.trim().toLowerCase(), shown = form.elements.shown?.value;
      const youngest = number("youngest"), oldest = number("oldest"), shot = form.elements.shot?.value;
      const least = number("least") ?? 0, described = form.elements.described?.checked;
      let count = 0;
      for (const one of people) {
        const kept = holds(one.text, text) && (!shown || one.shown.includes(shown))
          && (youngest === null || (one.age !== null && one.age >= youngest))
          && (oldest === null || (one.age !== null && one.age <= oldest))
          && (!shot || one.shots.includes(shot)) && one.seen >= least && (!described || one.described);
        one.card.hidden = one.line.hidden = !kept;
        count += kept;
      }
      const order = orders[form.elements.sort.value];
      const sorted = [...people].sort((one, two) => order(one, two) || one.first - two.first);
      grid.append(...sorted.map((one) => one.card));
      playhead.before(...sorted.map((one) => one.line));
      const whole = people.length === 1 ? "1 person" : `${people.length} people`;
      chapter.querySelector(".shown").textContent = count === people.length ? whole : `${count} of ${whole}`;
      nobody.hidden = count > 0;
    }
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(apply));
    chapter.showCard = (card) => {
      if (card.hidden) form.reset();
      setTimeout(() => { card.scrollIntoView({ block: "center" }); card.focus({ preventScroll: true }); });
    };
    apply();  // a browser may have kept what was entered
  }

  // the zoom of the timeline
  function zooming(chapter) {
    const box = chapter.querySelector(".timeline");
    if (!box) return;
    const canvas = box.querySelector(".canvas"), axis = box.querySelector(".axis .lane");
    const end = Number(canvas.dataset.end), lane = () => axis.getBoundingClientRect();
    let zoom = 1;
    const ticks = () => {
      const perSecond = lane().width / end;
      if (!perSecond) return;
      const step = TICKS.find((one) => one * perSecond >= APART) ?? TICKS.at(-1);
      const made = [];
      for (let count = 0; count * step <= end - APART / 3 / perSecond && count < 5000; count += 1) {
        const tick = document.createElement("span");
        tick.textContent = clock(count * step).replace(/\.0$/, "");
        tick.style.left = `${(100 * count * step) / end}%`;
        made.push(tick);
      }
      axis.replaceChildren(...made);
    };
    const left = () => axis.getBoundingClientRect().left - canvas.getBoundingClientRect().left;
    const visible = () => box.clientWidth - left();
    // keep the moment at `x` (px from the left end of what is visible) in its place
    const set = (wanted, x = visible() / 2) => {
      const unzoomed = lane().width / zoom, at = (box.scrollLeft + x) / lane().width;
      zoom = Math.min(Math.max(wanted, 1), Math.max(1, (CLOSEST * end) / unzoomed));
      canvas.style.setProperty("--zoom", zoom);
      box.scrollLeft = at * lane().width - x;
      ticks();
    };
    const fit = () => {
      const shown = all(canvas, ".person:not([hidden])");
      if (!shown.length) return;
      const from = Math.min(...shown.map((line) => Number(line.dataset.from)));
      const to = Math.max(...shown.map((line) => Number(line.dataset.to)));
      const margin = Math.max(0.1, (to - from) * 0.03);
      set(end / Math.max(to - from + 2 * margin, 0.5));
      box.scrollLeft = ((from - margin) / end) * lane().width;
    };
    const acts = { whole: () => set(1), fit, in: () => set(zoom * 2), out: () => set(zoom / 2) };
    chapter.querySelector(".buttons").addEventListener("click", (event) => acts[event.target.dataset.zoom]?.());
    const keys = { "+": "in", "=": "in", "-": "out", 0: "whole", f: "fit" };
    box.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const span = event.target.closest(".span");
      const turned = { "+": 2, "=": 2, "-": 0.5 }[event.key];
      if (span && turned) set(zoom * turned, Math.min(Math.max(middle(span), 0), visible()));
      else if (keys[event.key]) acts[keys[event.key]]();
      else if (span && event.key.startsWith("Arrow")) step(span, event.key);
      else if (span && event.key === "Enter" && !span.href) span.click();
      else return;
      event.preventDefault();
    });
    const middle = (span) => {  // px from the left end of what is visible
      const bar = span.getBoundingClientRect();
      return (bar.left + bar.right) / 2 - box.getBoundingClientRect().left - left();
    };
    const step = (span, key) => {
      const line = span.closest(".line");
      if (key === "ArrowLeft" || key === "ArrowRight") {
        const next = key === "ArrowLeft" ? span.previousElementSibling : span.nextElementSibling;
        next?.focus();
        return;
      }
      const lines = all(canvas, ".person:not([hidden])");
      const other = lines[lines.indexOf(line) + (key === "ArrowUp" ? -1 : 1)], at = Number(span.dataset.t);
      const spans = other ? all(other, ".span") : [];
      spans.sort((one, two) => Math.abs(one.dataset.t - at) - Math.abs(two.dataset.t - at))[0]?.focus();
    };
    box.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      set(zoom * 2 ** (-event.deltaY / 200), Math.max(0, event.clientX - box.getBoundingClientRect().left - left()));
    }, { passive: false });
    new ResizeObserver(ticks).observe(box);
    addEventListener("beforeprint", () => set(1));
  }

  // the video: jumps, the line that follows it, and the small player while the large one is out of view
  function playing(chapter) {
    const player = chapter.querySelector(".player"), playhead = chapter.querySelector(".playhead");
    const canvas = chapter.querySelector(".canvas"), end = Number(canvas?.dataset.end);
    let video = null, used = false, away = false;
    const spans = all(chapter, ".person .span").map((span) => {
      const line = span.parentElement, width = parseFloat(span.style.width), left = parseFloat(span.style.left);
      return { span, from: (left * end) / 100, to: ((left + width) * end) / 100, line };
    });
    const follow = () => {
      const now = video.currentTime;
      player.querySelector(".now").textContent = clock(now);
      if (!playhead) return;
      playhead.hidden = false;
      const lane = canvas.querySelector(".axis .lane").getBoundingClientRect();
      playhead.style.left = `${lane.left - canvas.getBoundingClientRect().left + (lane.width * now) / end - 1}px`;
      for (const one of spans) one.span.classList.toggle("at", one.from <= now && now < one.to);
    };
    const dock = () => {
      const docked = used && away, shown = player.querySelector(".dock");
      if (!shown || docked === shown.classList.contains("docked")) return;
      player.style.minHeight = docked ? `${player.offsetHeight}px` : "";  // the page must not move
      shown.classList.toggle("docked", docked);
    };
    const use = (found) => {
      video = found;
      for (const name of ["timeupdate", "seeking", "seeked"]) video.addEventListener(name, follow);
      video.addEventListener("play", () => { used = true; dock(); });
      new ResizeObserver(() => used && follow()).observe(canvas ?? player);
    };
    const seek = (seconds) => {
      used = true;
      if (!video.readyState) video.preload = "auto";
      video.currentTime = Math.min(Math.max(0, seconds), video.duration || seconds);
      dock();
      follow();
    };
    new IntersectionObserver(([entry]) => { away = !entry.isIntersecting; dock(); }).observe(player);
    const prepared = player.querySelector("video");
    if (prepared) {
      use(prepared);
      prepared.addEventListener("error", () => {
        if (!prepared.src.startsWith("blob:")) {
          video = null;
          player.querySelector(".dock").hidden = true;
          player.querySelector(".lost").hidden = false;
        }
      });
    }
    player.addEventListener("click", (event) => {
      if (!event.target.closest(".close")) return;
      used = false;
      video?.pause();
      dock();
    });
    player.addEventListener("change", (event) => {
      const file = event.target.files?.[0];
      if (!file) return;
      let shown = player.querySelector(".dock");
      if (!shown) {
        shown = document.createElement("div");
        shown.className = "dock";
        shown.innerHTML = '<video controls preload="metadata"></video><p class="under"><span class="kind"></span>'
          + '<output class="now"></output><button type="button" class="close">Close</button></p>';
        player.querySelector(".blank").replaceWith(shown);
      }
      player.querySelector(".lost")?.setAttribute("hidden", "");
      shown.hidden = false;
      shown.querySelector(".kind").textContent = file.name;
      const opened = shown.querySelector("video");
      opened.src = URL.createObjectURL(file);
      if (video !== opened) use(opened);
    });
    chapter.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      const target = event.target.closest("[data-t], .person .lane, .crowd .lane");
      if (!target) return;
      if (!video) {
        if (!target.href) {
          player.scrollIntoView({ block: "center" });
          player.querySelector(".choose input")?.focus({ preventScroll: true });
        }
        return;
      }
      event.preventDefault();
      const lane = target.closest(".person .lane, .crowd .lane"), pointed = event.detail > 0 && lane;
      const box = pointed && lane.getBoundingClientRect();
      seek(pointed ? ((event.clientX - box.left) / box.width) * end : Number(target.dataset.t));
    });
  }

  // each picture is in the page once, in its card; other places show the same
  for (const image of all(document, "img[data-of]")) image.src = document.getElementById(image.dataset.of)?.src ?? "";

  const chapters = all(document, ".chapter");
  for (const chapter of chapters) {
    if (!chapter.querySelector(".player")) continue;
    filters(chapter);
    zooming(chapter);
    playing(chapter);
  }
  const show = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const chapter = target.closest(".chapter");
    if (chapter?.tagName === "DETAILS") chapter.open = true;
    if (target.matches(".card")) chapter.showCard?.(target);
    else if (target === chapter) chapter.scrollIntoView();
  };
  addEventListener("hashchange", show);
  document.addEventListener("click", (event) => {  // again to where the address points already
    const link = event.target.closest("a[href^='#']");
    if (link && link.hash === location.hash) show();
  });
  show();
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = chapters.filter((chapter) => chapter.tagName === "DETAILS" && !chapter.open);
    for (const chapter of closed) chapter.open = true;
  });
  addEventListener("afterprint", () => { for (const chapter of closed) chapter.open = false; });
})();
