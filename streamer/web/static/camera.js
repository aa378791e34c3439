// Adds, changes, pauses and removes a camera.
import { call, words } from "./api.js";
import { fill, h } from "./dom.js";
import { ask, busy, field, said } from "./parts.js";

const PROBE_S = 8;

/** Ask for the settings of a new camera (null), or of one that is there. `after()` is called when it was saved. */
export function editCamera(stream, after) {
  const settings = stream?.settings ?? {};
  const name = h("input", { required: true, disabled: Boolean(stream), value: stream?.streamId ?? "", pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*", maxLength: 63, autocomplete: "off", placeholder: "door" });
  const address = h("input", { required: true, value: settings.uri ?? "", spellcheck: false, autocomplete: "off", placeholder: "rtsp://user:password@192.168.1.20/stream1" });
  const transport = h("select", {}, h("option", { value: "TRANSPORT_TCP" }, "TCP: nothing is lost"), h("option", { value: "TRANSPORT_UDP" }, "UDP: for cameras without TCP"));
  transport.value = settings.transport === "TRANSPORT_UDP" ? "TRANSPORT_UDP" : "TRANSPORT_TCP";
  const rate = h("input", { type: "number", min: 0, max: 1000, step: "any", value: String(settings.maxFps ?? 0) });
  const loop = h("input", { type: "checkbox", checked: Boolean(settings.loop) });
  const findings = h("div.findings", { "aria-live": "polite" });
  const probe = h("button", { type: "button" }, "Probe");

  const values = () => ({
    uri: address.value.trim(), transport: transport.value, maxFps: Number(rate.value) || 0, loop: loop.checked,
    ...(settings.tlsCaFile ? { tlsCaFile: settings.tlsCaFile } : {}), ...(settings.uriFile ? { uriFile: settings.uriFile } : {}),
  });

  probe.addEventListener("click", () => busy(probe, "Looking", findings, async () => {
    if (!address.reportValidity()) return;
    fill(findings, h("p.dim", {}, `Connecting, and looking at the video for up to ${PROBE_S} s`));
    const { uri, transport: way } = values();
    const found = await call("InspectionService/ProbeStream", { streamId: name.value.trim() || "new", settings: { uri, transport: way }, wait: `${PROBE_S}s` });
    fill(findings, describe(found));
  }));

  const content = [
    field("Name", name, stream ? "" : "Letters, digits, dot, dash and underscore."),
    h("div.field", {}, h("label", { for: "f-address" }, "Address"), h("div.row.nowrap", {}, Object.assign(address, { id: "f-address" }), probe),
      stream ? h("p.hint.dim", {}, "The password is kept as long as the address stays as it is.") : null),
    findings,
    h("details", { open: Boolean(settings.maxFps || settings.loop || transport.value === "TRANSPORT_UDP") }, h("summary", {}, "More settings"),
      field("Transport", transport), field("Most frames per second", rate, "0: no limit."),
      h("label.check", {}, loop, " Start a file again at its end")),
    stream?.origin === "STREAM_ORIGIN_CONFIGURATION" ? h("p.notice", {}, "The configuration file names this camera. What you change lasts until the streamer starts again.") : null,
  ];
  ask(stream ? `Edit ${stream.streamId}` : "Add a camera", content, {
    said: stream ? "Save" : "Add the camera", wide: true,
    submit: async () => {
      const asked = values();
      if (stream) {
        const mask = Object.entries({ uri: "uri", transport: "transport", maxFps: "maxFps", loop: "loop" })
          .filter(([key]) => asked[key] !== ({ uri: settings.uri ?? "", transport: settings.transport === "TRANSPORT_UDP" ? "TRANSPORT_UDP" : "TRANSPORT_TCP", maxFps: settings.maxFps ?? 0, loop: Boolean(settings.loop) })[key])
          .map(([, path]) => path);
        if (!mask.length) return true;
        await call("StreamService/UpdateStream", { streamId: stream.streamId, settings: asked, updateMask: mask.join(",") });
        said(`${stream.streamId} has the new settings.`);
      } else {
        await call("StreamService/CreateStream", { streamId: name.value.trim(), settings: asked });
        said(`${name.value.trim()} was added, and connects now.`);
      }
      await after();
      return true;
    },
  });
  (stream ? address : name).focus();
}

function describe(found) {
  const notes = (found.notes ?? []).map((one) => h("li", {}, one));
  return h(found.usable ? "div.done" : "div.problem", {},
    h("strong", {}, h("span", {}, found.usable ? "It can be used." : `It cannot be used: ${found.problem}.`)),
    h("ul.plain", {}, (found.facts ?? []).map((one) => h("li", {}, one))),
    notes.length ? h("div.notes", {}, h("span", {}, "Could be better:"), h("ul", {}, notes)) : null);
}

/** Pause a camera, or resume one that is paused. */
export async function pauseCamera(stream, after) {
  const paused = stream.state !== "STREAM_STATE_PAUSED";
  const change = (to) => call("StreamService/UpdateStream", { streamId: stream.streamId, settings: { paused: to }, updateMask: "paused" });
  try {
    await change(paused);
    said(paused ? `${stream.streamId} is paused: it is not connected, and nothing is analysed.` : `${stream.streamId} connects again.`, async () => { await change(!paused); await after(); });
    await after();
  } catch (error) {
    fill(document.getElementById("notices"), words(error));
  }
}

/** Ask whether to remove a camera, and do it. */
export function removeCamera(stream, after) {
  ask(`Remove ${stream.streamId}?`, [
    h("p", {}, "The camera is disconnected, and faces in view end their tracks."),
    h("p", {}, "What was seen stays in the history until it is too old."),
    stream.origin === "STREAM_ORIGIN_CONFIGURATION" ? h("p.notice", {}, "The configuration file names this camera, so it returns when the streamer starts again.") : null,
  ], {
    said: "Remove the camera", dangerous: true,
    submit: async () => {
      await call("StreamService/DeleteStream", { streamId: stream.streamId });
      said(`${stream.streamId} was removed.`);
      await after();
      return true;
    },
  });
}
