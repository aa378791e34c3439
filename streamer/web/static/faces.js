// The newest faces below the pictures, and the faces of one camera beside it.
import { may } from "./api.js";
import { h } from "./dom.js";
import { texts } from "./overlay.js";
import { ageText, colourOf, looks, who } from "./words.js";

const MOST = 40; // faces in the strip
const SIZE = 152; // px, of a picture of a face
const AGAIN_MS = 1000; // the text of a face changes at most this often

export class Faces {
  #entries = new Map(); // by track id, the oldest first
  #enrolled = false; // somebody is

  /** `strip`: for the newest faces. `beside`: for those of one camera; null: none. */
  constructor(strip, beside) {
    this.strip = strip;
    this.list = beside && h("ul");
    this.hint = h("p.hint.dim", { hidden: true }, "Nobody is enrolled yet: open a face and say who it is.");
    if (beside) {
      beside.hidden = false;
      strip.remove();
      beside.append(
        h("p", {}, h("a", { href: "/live" }, "All cameras")),
        h("h2", {}, "Faces of this camera"),
        this.list,
        this.#empty("Nobody is in view."),
        this.hint,
      );
    } else strip.append(this.#empty("The newest faces appear here."), this.hint);
  }

  #empty(text) {
    this.empty = h("p.hint.dim", {}, text);
    return this.empty;
  }

  /** Take in a picture that was drawn in a tile. */
  see(tile, frame) {
    const now = performance.now();
    const present = new Set();
    for (const track of frame.tracks) {
      const seen = !track.predicted && !track.lost;
      const entry = this.#entries.get(track.id) ?? (seen ? this.#add(tile, track) : null);
      if (!entry) continue;
      if (!track.lost) present.add(track.id);
      const area = track.box[2] * track.box[3];
      if (seen && (area > 1.2 * entry.area || (track.quality ?? 0) > entry.quality + 0.05))
        this.#picture(entry, tile, track, area);
      if (now - entry.told > AGAIN_MS) this.#tell(entry, track, now);
    }
    for (const entry of this.#entries.values()) {
      if (entry.camera === tile.name) entry.element.classList.toggle("left", !present.has(entry.id));
    }
  }

  #add(tile, track) {
    const picture = h("canvas", { width: SIZE, height: SIZE, "aria-hidden": "true" });
    const name = h(this.list ? "strong" : "span", {});
    const more = h("span.dim", {});
    const link = h(
      "a",
      { href: `/tracks/${track.id}`, style: { "--track": colourOf(track.number) } },
      picture,
      this.list ? h("div", {}, name, more) : [name, more],
    );
    const element = this.list ? h("li", {}, link) : link;
    const entry = {
      id: track.id,
      camera: tile.name,
      element,
      link,
      picture,
      name,
      more,
      area: 0,
      quality: 0,
      told: -Infinity,
    };
    this.#entries.set(track.id, entry);
    this.empty.remove();
    (this.list ?? this.strip).prepend(element);
    if (this.#entries.size > MOST) {
      const [oldest] = this.#entries.values();
      oldest.element.remove();
      this.#entries.delete(oldest.id);
    }
    return entry;
  }

  #picture(entry, tile, track, area) {
    const found = tile.face(track, SIZE);
    if (!found) return;
    entry.area = area;
    entry.quality = track.quality ?? 0;
    entry.picture.getContext("2d").drawImage(found, 0, 0);
  }

  #tell(entry, track, now) {
    entry.told = now;
    if (track.decision) this.#enrolled = true; // without people there are no decisions
    this.hint.hidden = this.#enrolled || !track.age || !may("enrol");
    const decision = who(track.decision);
    const name = decision.known || decision.text.startsWith("maybe") ? decision.text : `#${track.number}`;
    const age = track.age ? ageText({ years: track.age[0], lowYears: track.age[1], highYears: track.age[2] }) : "";
    const more = this.list
      ? [decision.detail, age, looks(track.looks) && `appears ${looks(track.looks)}`]
      : [age.split(" (")[0] || entry.camera];
    const text = more.filter(Boolean).join(" \u00b7 ");
    if (entry.name.textContent !== name) entry.name.textContent = name;
    if (entry.more.textContent !== text) entry.more.textContent = text || " ";
    entry.link.title = `${entry.camera}: ${texts(track)[0]}`;
  }
}
