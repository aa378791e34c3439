// Pictures to choose from: one, or several, by mouse and keys.
import { h } from "./dom.js";
import { face } from "./parts.js";

let made = 0;

/** Pictures with boxes to tick, or one to choose if not `several`. `items`: [{value, src, lines}]. */
export function choice(legend, items, { several = false, required = true } = {}) {
  const name = `choice-${++made}`;
  const inputs = items.map((one) => h("input", { type: several ? "checkbox" : "radio", name, value: one.value, required: required && !several }));
  const element = h("fieldset.choice", {}, h("legend", {}, legend), h("ul", {}, items.map((one, place) =>
    h("li", {}, h("label", {}, face(one.src, "", 88, "no picture"), h("span.pick", {}, inputs[place], h("span.grow", {}, one.lines.filter(Boolean).map((text) => h("span.line", {}, text)))))))));
  return { element, inputs, values: () => inputs.filter((one) => one.checked).map((one) => one.value) };
}
