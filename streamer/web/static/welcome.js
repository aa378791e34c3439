// What the live page shows while there is no camera: how to add one.
import { call, may, words } from "./api.js";
import { command, h } from "./dom.js";

export function welcome() {
  const name = h("input", {
    id: "new-name",
    name: "name",
    value: "door",
    required: true,
    pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*",
    maxLength: 63,
  });
  const address = h("input", {
    id: "new-address",
    name: "address",
    required: true,
    placeholder: "rtsp://user:password@192.168.1.20/stream1",
    spellcheck: false,
    autocomplete: "off",
  });
  const problem = h("div", { role: "alert" });
  const button = h("button.primary", { type: "submit" }, "Add the camera");
  const form = h(
    "form",
    { onsubmit: add },
    h("div", {}, h("label", { for: "new-name" }, "Name"), name),
    h("div", {}, h("label", { for: "new-address" }, "Address"), address),
    button,
  );

  async function add(event) {
    event.preventDefault();
    button.disabled = true;
    button.textContent = "Adding";
    problem.replaceChildren();
    try {
      await call("StreamService/CreateStream", {
        streamId: name.value.trim(),
        settings: { uri: address.value.trim() },
      });
    } catch (error) {
      problem.replaceChildren(words(error));
    }
    button.disabled = false;
    button.textContent = "Add the camera";
  }

  const adding = may("operate")
    ? [
        form,
        problem,
        h("p.dim", {}, "Examples of addresses:"),
        h("pre", {}, "rtsp://user:password@192.168.1.20:554/stream1\nrtsps://camera.example/h264?channel=2"),
      ]
    : [h("p", {}, "Your token may look, but not add cameras: that needs the scope operate.")];
  return h(
    "section.card.welcome",
    {},
    h("h1", {}, "No camera yet"),
    h("p", {}, "Enter the address of a camera, and its picture appears here with a box around each face."),
    adding,
    h("h2", {}, "Just to see it work"),
    h("p", {}, "This plays a clip with real faces as a camera, with a worker beside it:"),
    command("make demo KEEP=1"),
  );
}
