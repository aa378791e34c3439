// Enrols somebody: from pictures, or from a face that was seen just now.
import { call, callWithAll, words } from "./api.js";
import { fill, h, svg } from "./dom.js";
import { ask, bytes, face, field, said } from "./parts.js";
import { personPicker } from "./persons.js";
import { ageText, count } from "./words.js";

const LARGEST = 8 << 20; // bytes of a picture
const AGAIN_MS = 2000; // between two looks for faces, while there are few

/** Ask for somebody new. `people`: who is enrolled; `after()` is called when that has changed. */
export function enrol(people, after) {
  const picker = personPicker(people.filter((one) => !one.readOnly), { id: "f-name", said: "is enrolled already: the pictures are added", isNew: "" });
  let made = null; // a person who was added here
  const pictures = new Pictures(async () => {
    const person = made ?? picker.person();
    if (person) return person.personId;
    made = (await call("GalleryService/CreatePerson", { person: { displayName: picker.name() } })).person;
    return made.personId;
  });
  const live = h("ul.faces", {}, h("li.dim", {}, "Looking for faces"));
  const { dialog } = ask("Enrol somebody", [
    h("div.field", {}, h("label", { for: "f-name" }, "Name"), picker.element), pictures.element, h("h2", {}, "Or take a face that was seen just now"), live,
  ], {
    said: "Add the pictures", wide: true,
    submit: async () => {
      const good = await pictures.send();
      if (!good) return false;
      said(`${picker.name()} is enrolled with ${count(good, "picture")}.`);
      made = null;
      await after();
      return pictures.allGood;
    },
    closed: async () => { // nobody stays without a face because all pictures were refused
      if (!made) return;
      await call("GalleryService/ErasePerson", { personId: made.personId }).catch(() => undefined);
      await after();
    },
  });
  faces(live, async (track) => {
    if (!picker.input.reportValidity()) return;
    try {
      const { entryId } = await call("GalleryService/EnrollFromTrack", { trackId: track.trackId, ...picker.request() });
      dialog.close();
      said(`${picker.name()} is enrolled from a face at ${track.streamId}.`, async () => { await call("GalleryService/Undo", { entryId }); await after(); });
      await after();
    } catch (error) {
      fill(dialog.querySelector("[role=alert]"), words(error));
    }
  });
}

async function faces(place, choose) {
  try {
    const { tracks = [], facesJpeg = {} } = await call("TrackService/ListTracks", { past: true, newestFirst: true, includeFace: true, pageSize: 40 });
    const some = tracks.filter((one) => one.decision?.status !== "IDENTITY_STATUS_IDENTIFIED" && (facesJpeg[one.trackId] || !one.final)).sort((one, two) => (two.samples ?? 0) - (one.samples ?? 0)).slice(0, 24);
    fill(place, some.length ? some.map((track) => h("li", {}, h("button.pick", { type: "button", onclick: () => choose(track), "aria-label": `Enrol face ${track.number} of ${track.streamId}` },
      face(facesJpeg[track.trackId] ? `data:image/jpeg;base64,${facesJpeg[track.trackId]}` : "", "", 88, "in view"), h("span.line", {}, ageText(track.age) || `#${track.number}`), h("span.line.dim", {}, track.streamId))))
      : h("li.dim", {}, "Nobody was seen who is not enrolled."));
    const waits = some.length < 2 || some.some((one) => !facesJpeg[one.trackId]);
    if (waits) setTimeout(() => { if (place.isConnected && !place.contains(document.activeElement)) faces(place, choose); }, AGAIN_MS);
  } catch (error) {
    fill(place, h("li", {}, words(error)));
  }
}

/** Pictures that are chosen or dropped, how much is asked of them, and what became of each. */
export class Pictures {
  #files = [];
  allGood = true;

  /** `person()` returns the id of whose pictures they are. */
  constructor(person) {
    this.person = person;
    this.input = h("input", { type: "file", accept: "image/*", multiple: true, onchange: () => this.#choose([...this.input.files]) });
    this.judgement = h("select", {}, h("option", { value: "JUDGEMENT_STANDARD" }, "good enough to be analysed in a video"), h("option", { value: "JUDGEMENT_STRICT" }, "high quality, and the only face"), h("option", { value: "JUDGEMENT_OFF" }, "any face"));
    this.list = h("p.dim", {}, `JPEG, PNG or WebP, at most ${bytes(LARGEST)} each. Or drop them here.`);
    this.results = h("div.results", { "aria-live": "polite" });
    const drop = h("div.drop", {}, field("Pictures", this.input), this.list);
    drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
    drop.addEventListener("dragleave", () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); this.#choose([...event.dataTransfer.files]); });
    this.element = h("div", {}, drop, field("What is asked of them", this.judgement), this.results);
  }

  #choose(files) {
    this.#files = files;
    this.results.replaceChildren();
    this.list.textContent = files.length ? files.map((one) => `${one.name} (${bytes(one.size)})`).join(", ") : "No picture is chosen.";
  }

  /** Add the pictures; returns how many were good. */
  async send() {
    this.results.replaceChildren();
    this.allGood = true;
    if (!this.#files.length) {
      fill(this.results, h("p.problem", {}, "Choose a picture first, or a face below."));
      return 0;
    }
    let good = 0;
    const fits = this.#files.filter((one) => one.size <= LARGEST);
    for (const one of this.#files) if (one.size > LARGEST) this.#refuse(one, `It has ${bytes(one.size)}, and at most ${bytes(LARGEST)} are taken. Save it smaller: a face needs about 200 pixels.`);
    if (!fits.length) return 0;
    const personId = await this.person();
    for (const file of fits) {
      const waiting = h("p.dim", {}, `Looking at ${file.name}`);
      this.results.append(waiting);
      try {
        const data = await base64(file);
        const answer = await callWithAll("GalleryService/AddReferences", [{ personId, judgement: this.judgement.value, fileName: file.name, data }]);
        for (const one of answer.results ?? []) if (await this.#tell(file, one)) good += 1;
      } catch (error) {
        this.#refuse(file, error.message);
      }
      waiting.remove();
    }
    return good;
  }

  // the places of faces, which the reason of a refusal ends with, are drawn
  async #tell(file, result) {
    if (result.referenceId) {
      const alike = (result.resembles ?? []).map((one) => `${one.person} (${(one.similarity ?? 0).toFixed(2)})`);
      this.results.append(h("div.done", {}, `${file.name} was added, quality ${(result.quality ?? 0).toFixed(2)} of 1.`));
      if (alike.length) {
        this.allGood = false;
        this.results.append(h("div.notice", {}, `It resembles ${alike.join(", ")} as much as one person does. From now on such faces may stay undecided: look whether they are the same person.`));
      }
      return true;
    }
    this.#refuse(file, result.duplicateOf ? "It is the same image as a reference that is there." : (result.reason ?? "It was refused.").split(" x, y, width")[0], await boxes(file, result.faces ?? []));
    return false;
  }

  #refuse(file, why, picture = null) {
    this.allGood = false;
    this.results.append(h("figure", {}, h("figcaption.problem", {}, h("strong", {}, `${file.name} was not taken.`), why), picture));
  }
}

/** The picture with a box around each face that was found. */
async function boxes(file, found) {
  if (!found.length) return null;
  const url = URL.createObjectURL(file);
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    return null;
  }
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${file.name} with ${count(found.length, "face")}` },
    svg("image", { href: url, width, height }),
    found.map(({ box = {} }) => svg("rect", { class: "box", x: box.x ?? 0, y: box.y ?? 0, width: box.width ?? 0, height: box.height ?? 0 })));
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error("the browser cannot read this file"));
    reader.readAsDataURL(file);
  });
}
