// Says who a track shows, or does not show, and which tracks show the same face.
import { call } from "./api.js";
import { choice } from "./choice.js";
import { h } from "./dom.js";
import { personPicker, readPeople } from "./persons.js";
import { propose } from "./propose.js";
import { begun, nameOfTrack } from "./tracks.js";
import { moment } from "./words.js";

const OFFERED = 24; // tracks to choose from

/** Ask who a track shows. `after(message)` is called when it was said. */
export async function confirmMatch(track, after) {
  const people = await readPeople();
  const best = (track.decision?.candidates ?? []).map((one) => one.personId).filter(Boolean);
  const picker = personPicker(people, { best });
  const request = () => {
    const said = { trackId: track.trackId, ...picker.request() };
    return [said.personId ? "GalleryService/ConfirmMatch" : "GalleryService/EnrollFromTrack", said];
  };
  const fields = [h("label", { for: "who" }, "Who is it?"), picker.element];
  propose(`Face #${track.number} is \u2026`, fields, request, () => `This is ${picker.name()} now.`, after);
}

/** Say that a track does not show the person it is named as. */
export function rejectMatch(track, name, after) {
  const request = () => ["GalleryService/RejectMatch", { trackId: track.trackId }];
  const text = `The face is never named ${name} again, and faces that resemble it more than ${name} are left undecided.`;
  propose(`Not ${name}`, h("p", {}, text), request, () => `This is not ${name}.`, after);
}

/** Say that a track shows the same face as another one, whoever that is. */
export async function joinTracks(track, after) {
  const other = await otherTrack(track, false);
  const fields = [h("p", {}, "Both tracks count as one person from now on, also when they are named."), other.element];
  const request = () => ["VisitorService/JoinTracks", { trackId: track.trackId, otherTrackId: other.value() }];
  propose(`Face #${track.number} is the same as \u2026`, fields, request, () => "The two tracks show the same face.", after, { wide: true });
}

/** Say that a track shows another face than another one. */
export async function partTracks(track, after) {
  const other = await otherTrack(track, true);
  const fields = [h("p", {}, "The two tracks never count as one person again."), other.element];
  const request = () => ["VisitorService/PartTracks", { trackId: track.trackId, otherTrackId: other.value() }];
  propose(`Face #${track.number} is somebody else than \u2026`, fields, request, () => "The two tracks show two people.", after, { wide: true });
}

/** Fields for another track: faces to choose from, those `alike` first if wanted, or an id. */
async function otherTrack(track, alike) {
  const asked = { past: true, newestFirst: true, includeFace: true, pageSize: 200 };
  const { tracks = [], facesJpeg = {} } = await call("TrackService/ListTracks", asked);
  const mine = (one) => [one.visitor?.visitorId, one.decision?.personId].some((id) => id && [track.visitor?.visitorId, track.decision?.personId].includes(id));
  const others = tracks.filter((one) => one.trackId !== track.trackId && one.samples).sort((a, b) => (alike ? mine(b) - mine(a) : 0)).slice(0, OFFERED);
  const items = others.map((one) => ({ value: one.trackId, src: facesJpeg[one.trackId] && `data:image/jpeg;base64,${facesJpeg[one.trackId]}`, lines: [nameOfTrack(one), one.streamId, moment(begun(one).toISOString())] }));
  const faces = choice("Which face?", items);
  const id = h("input", { id: "other-track", placeholder: "id or address of a track", autocomplete: "off", spellcheck: false, required: !items.length });
  id.addEventListener("input", () => { for (const one of faces.inputs) { one.checked = false; one.required = !id.value.trim(); } });
  faces.element.addEventListener("input", () => { id.value = ""; });
  return {
    element: [items.length ? faces.element : null, h("label", { for: "other-track" }, items.length ? "Or another track" : "Which track?"), id],
    value: () => trackId(id.value) || faces.values()[0],
  };
}

/** The id in what somebody has entered: an id, or the address of a page. */
export const trackId = (text) => text.trim().replace(/^.*\/tracks\//, "").replace(/(\.json)?([?#].*)?$/, "");
