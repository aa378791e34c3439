// One camera: its newest picture with the overlays of that picture, and its state in words.
import { fill, h } from "./dom.js";
import { fit, Overlay, texts } from "./overlay.js";
import { cameraState, clockWords, count, moment } from "./words.js";

export class Tile {
  #overlay = new Overlay();
  #waiting = null; // the newest picture that is not drawn yet
  #drawing = false;
  #shown = null; // {frame, bitmap} that is drawn
  #pointed = null; // id of the track that is pointed at
  #timeShown = 0; // ms, when the time was written last
  #said = "";
  #asked = false; // for the last picture of a camera that is down

  /** `onframe(frame, bitmap)` is called for each picture that was drawn. */
  constructor(name, onframe) {
    this.name = name;
    this.onframe = onframe;
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.sign = h("span.sign", {}, h("a", { href: `/live/${encodeURIComponent(name)}`, tabIndex: -1 }, name));
    this.time = h("time");
    this.words = h("div.words", { role: "status" }, h("span", {}, "Waiting for the first picture"));
    this.description = h("span.hidden-text");
    this.element = h(
      "article.tile",
      { tabIndex: 0, "aria-label": name, onkeydown: (event) => this.#key(event) },
      this.canvas,
      this.words,
      h("div.name", {}, this.sign, this.time),
      this.description,
    );
    this.canvas.addEventListener("pointermove", (event) => this.#point(event));
    this.canvas.addEventListener("pointerleave", () => this.#point(null));
    this.canvas.addEventListener("click", (event) => this.#open(event));
    new ResizeObserver(() => this.#draw()).observe(this.element);
  }

  /** Take in a stream as the API describes it. */
  see(stream) {
    const { sign, text, running } = cameraState(stream);
    this.sign.className = `sign ${sign}`;
    this.sign.title = text;
    this.running = running;
    this.element.classList.toggle("down", !running);
    this.canvas.dataset.state = stream.state ?? "";
    if (running && this.#shown) this.words.hidden = true;
    else {
      const title = running ? "Waiting for the first picture" : text;
      this.words.hidden = false;
      fill(this.words, h("strong", {}, running ? "" : this.name), h("span", {}, title));
      if (!running && !this.#shown) this.#lastPicture();
    }
    this.#describe();
  }

  /** Show a picture, or a newer one. Resolves when this one was drawn or is not needed any longer. */
  async show(frame, jpeg) {
    this.#waiting?.done();
    await new Promise((done) => {
      this.#waiting = { frame, jpeg, done };
      this.#next();
    });
  }

  /** The part of the picture with the face of a track, on a square canvas; null if there is none. */
  face(track, size) {
    const shown = this.#shown;
    if (!shown?.bitmap) return null;
    const [x, y, width, height] = track.box;
    const side = 1.35 * Math.max(width, height);
    const scale = shown.bitmap.width / shown.frame.size[0];
    const canvas = h("canvas", { width: size, height: size, "aria-hidden": "true" });
    canvas
      .getContext("2d")
      .drawImage(
        shown.bitmap,
        (x + width / 2 - side / 2) * scale,
        (y + height / 2 - side / 2) * scale,
        side * scale,
        side * scale,
        0,
        0,
        size,
        size,
      );
    return canvas;
  }

  async #next() {
    if (this.#drawing) return;
    this.#drawing = true;
    while (this.#waiting) {
      const { frame, jpeg, done } = this.#waiting;
      this.#waiting = null;
      const bitmap = jpeg.byteLength
        ? await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" })).catch(() => null)
        : null;
      this.#shown?.bitmap?.close();
      this.#shown = { frame, bitmap };
      this.#draw();
      if (this.running !== false) this.words.hidden = true;
      this.onframe?.(this, frame);
      this.#tell(frame);
      done();
    }
    this.#drawing = false;
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = devicePixelRatio;
    const context = this.canvas.getContext("2d", { alpha: false });
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#0b0d11";
    context.fillRect(0, 0, width, height);
    if (!this.#shown) return;
    const { frame, bitmap } = this.#shown;
    const placed = fit(frame.size, { width, height });
    if (bitmap) context.drawImage(bitmap, placed.x, placed.y, placed.width, placed.height);
    const drawn = this.#overlay.draw(context, frame.tracks, placed, this.#pointed, performance.now());
    this.canvas.shown = { frame, placed, picture: bitmap ? [bitmap.width, bitmap.height] : null, ...drawn };
  }

  #tell(frame) {
    const now = performance.now();
    if (now - this.#timeShown < 1000) return; // numbers change at most once a second
    this.#timeShown = now;
    const only = this.#shown.bitmap
      ? ""
      : frame.concealment === "BOXES_ONLY"
        ? "private: boxes only \u00b7 "
        : "your token shows boxes only \u00b7 ";
    this.time.textContent = only + moment(frame.captured ?? frame.received);
    this.time.title = frame.captured ? clockWords(frame.clock) : "when it arrived here";
    this.#describe();
  }

  #describe() {
    const tracks = this.#shown && this.running !== false ? this.#shown.frame.tracks.filter((one) => !one.lost) : [];
    const faces = tracks.map((one) => texts(one)[0]).join("; ");
    const text = `${this.sign.title || "connecting"}. ${count(tracks.length, "face")}${faces && ": "}${faces}`;
    if (text !== this.#said) this.description.textContent = this.#said = text;
  }

  async #lastPicture() {
    if (this.#asked) return;
    this.#asked = true;
    const response = await fetch(`/cameras/${encodeURIComponent(this.name)}/picture.jpg`).catch(() => null);
    if (response?.status !== 200 || this.#shown) return;
    const bitmap = await createImageBitmap(await response.blob()).catch(() => null);
    if (!bitmap || this.#shown) return;
    const received = response.headers.get("x-received-at");
    this.#shown = { frame: { size: [bitmap.width, bitmap.height], tracks: [], received }, bitmap };
    this.time.textContent = moment(received);
    this.#draw();
  }

  #hit(event) {
    const boxes = this.canvas.shown?.boxes ?? [];
    return boxes.find(
      (one) =>
        event.offsetX >= one.x &&
        event.offsetX <= one.x + one.width &&
        event.offsetY >= one.y &&
        event.offsetY <= one.y + one.height,
    );
  }

  #point(event) {
    const found = event ? (this.#hit(event)?.id ?? null) : null;
    if (found === this.#pointed) return;
    this.#pointed = found;
    this.canvas.style.cursor = found ? "pointer" : "";
    this.#draw();
  }

  #open(event) {
    const face = this.#hit(event);
    location.assign(face ? `/tracks/${face.id}` : `/live/${encodeURIComponent(this.name)}`);
  }

  #key(event) {
    if (event.key === "Enter" && event.target === this.element)
      location.assign(`/live/${encodeURIComponent(this.name)}`);
  }
}
