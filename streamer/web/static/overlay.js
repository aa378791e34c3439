// Draws boxes and their labels over a picture. A label never covers a face and never leaves the picture.
import { ageText, colourOf, looks, who } from "./words.js";

const FONT = 12; // px
const PAD = 4;
const HEIGHT = FONT + 2 * PAD;
const SMALL = 300; // px: smaller pictures show boxes only, and labels of the face that is pointed at
const FADE_MS = 1000;

/** Where a picture of some size goes in an area, without cutting it: {x, y, width, height, scale}. */
export function fit(size, area) {
  const scale = Math.min(area.width / size[0], area.height / size[1]);
  const [width, height] = [size[0] * scale, size[1] * scale];
  return { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height, scale };
}

/** The texts of a face, the longest first: name or number, age, expression. */
export function texts(track) {
  const decision = who(track.decision);
  const named = decision.known || decision.text.startsWith("maybe");
  const name = named ? decision.text : `#${track.number}`;
  const sure = named && decision.detail ? `${name} (${decision.detail})` : name;
  const age = track.age ? ageText({ years: track.age[0], lowYears: track.age[1], highYears: track.age[2] }) : "";
  const join = (...parts) => parts.filter(Boolean).join(" \u00b7 ");
  return [...new Set([join(sure, age, looks(track.looks)), join(sure, age), join(name, age), sure, name])];
}

/** Draws the overlays of one tile. */
export class Overlay {
  #places = new Map(); // track id -> place of its label in the last picture
  #lostSince = new Map(); // track id -> ms

  /** Draw the tracks of a picture, and return what was drawn. `placed`: see fit. `pointed`: id of a track. */
  draw(context, tracks, placed, pointed, now) {
    const boxes = tracks.map((track) => ({ track, ...scaled(track.box, placed) }));
    const labels = [];
    const places = new Map();
    context.font = `600 ${FONT}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    for (const box of boxes) this.#box(context, box, box.track.id === pointed, now);
    const wanted = placed.width < SMALL ? boxes.filter((box) => box.track.id === pointed) : boxes;
    for (const box of [...wanted].sort((a, b) => b.width - a.width)) {
      const label = this.#label(context, box, boxes, labels, placed);
      if (!label) continue;
      labels.push(label);
      places.set(box.track.id, label.place);
      write(context, label, this.#strength(box.track, now));
    }
    this.#places = places;
    const ids = new Set(tracks.map((track) => track.id));
    for (const id of this.#lostSince.keys()) if (!ids.has(id)) this.#lostSince.delete(id);
    return {
      boxes: boxes.map(({ track, x, y, width, height }) => ({
        id: track.id,
        number: track.number,
        x,
        y,
        width,
        height,
        predicted: track.predicted,
      })),
      labels,
    };
  }

  #strength(track, now) {
    if (!track.lost) {
      this.#lostSince.delete(track.id);
      return 1;
    }
    if (!this.#lostSince.has(track.id)) this.#lostSince.set(track.id, now);
    return Math.max(0, 1 - (now - this.#lostSince.get(track.id)) / FADE_MS);
  }

  #box(context, box, strong, now) {
    context.globalAlpha = this.#strength(box.track, now);
    context.setLineDash(box.track.predicted ? [5, 4] : []);
    for (const [width, colour] of [
      [strong ? 6 : 4, "rgb(0 0 0 / 55%)"],
      [strong ? 4 : 2, colourOf(box.track.number)],
    ]) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.strokeRect(box.x, box.y, box.width, box.height);
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  /** The longest text that fits somewhere beside the face; where it was before, if that fits. */
  #label(context, box, boxes, labels, placed) {
    const before = this.#places.get(box.track.id);
    for (const text of texts(box.track)) {
      const width = Math.ceil(context.measureText(text).width) + 2 * PAD;
      const found = places(box, width, placed).filter(
        (one) => inside(one, placed) && ![...boxes, ...labels].some((other) => overlap(one, other)),
      );
      const best = found.find((one) => one.place === before) ?? found[0];
      if (best) return { ...best, text, id: box.track.id, colour: colourOf(box.track.number) };
    }
    return null;
  }
}

function scaled([x, y, width, height], placed) {
  return {
    x: placed.x + x * placed.scale,
    y: placed.y + y * placed.scale,
    width: width * placed.scale,
    height: height * placed.scale,
  };
}

function* placesOf(box, width) {
  const above = box.y - HEIGHT - 3;
  const below = box.y + box.height + 3;
  const centred = box.x + box.width / 2 - width / 2;
  for (const [name, y] of [
    ["above", above],
    ["below", below],
  ]) {
    yield { place: `${name} left`, x: box.x - 1, y };
    yield { place: `${name} centre`, x: centred, y };
    yield { place: `${name} right`, x: box.x + box.width + 1 - width, y };
  }
  yield { place: "right", x: box.x + box.width + 4, y: box.y };
  yield { place: "left", x: box.x - width - 4, y: box.y };
}

function places(box, width, placed) {
  const moved = (one) => ({
    ...one,
    x: Math.min(Math.max(one.x, placed.x), placed.x + placed.width - width),
    width,
    height: HEIGHT,
  });
  return [...placesOf(box, width)].map((one) =>
    one.place === "left" || one.place === "right" ? { ...one, width, height: HEIGHT } : moved(one),
  );
}

function inside(one, placed) {
  return (
    one.x >= placed.x &&
    one.y >= placed.y &&
    one.x + one.width <= placed.x + placed.width + 0.01 &&
    one.y + one.height <= placed.y + placed.height
  );
}

function overlap(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

function write(context, label, strength) {
  context.globalAlpha = strength;
  context.fillStyle = label.colour;
  context.beginPath();
  context.roundRect(label.x, label.y, label.width, label.height, 3);
  context.fill();
  context.fillStyle = "#0b0d11";
  context.fillText(label.text, label.x + PAD, label.y + label.height / 2 + 0.5);
  context.globalAlpha = 1;
}
