// Unknown visitors: people who are not enrolled, under pseudonyms, with how many they are.
import { call, may, report } from "./api.js";
import { changes } from "./correct.js";
import { fill, h } from "./dom.js";
import { ask, face, field, grows, number, said, seconds } from "./parts.js";
import { count, duration, moment } from "./words.js";

const PAGE = 60;
const short = (id) => `Visitor ${id.slice(-6)}`;

/** Fill the tab. */
export async function showVisitors(panel) {
  fill(panel, h("div.skeleton", {}, "Reading the visitors"));
  const midnight = new Date(new Date().setHours(0, 0, 0, 0)).toISOString();
  const counts = h("div.counts");
  const list = h("ul.cards");
  const again = () => showVisitors(panel);
  let pageToken = "";
  const more = async () => {
    const answer = await call("VisitorService/ListVisitors", { pageSize: PAGE, pageToken });
    pageToken = answer.nextPageToken ?? "";
    for (const one of answer.visitors ?? []) list.append(card(one, again));
    return Boolean(pageToken);
  };
  try {
    const goesOn = await more();
    fill(panel, counts, list.childElementCount ? list : h("section.card.teach", {}, h("h2", {}, "No visitor yet"), h("p", {}, "Faces that nobody is enrolled for are grouped here, so that somebody who comes again is one visitor.")));
    if (goesOn) grows(list, more);
    fill(counts, numbers((await call("VisitorService/CountVisitors", { seenSince: midnight })).total ?? {}));
  } catch (error) {
    if (error.code === "FAILED_PRECONDITION") fill(panel, h("section.card.teach", {}, h("h2", {}, "Visitors are not counted here"), h("p", {}, error.message)));
    else { panel.replaceChildren(); report(error); }
  }
}

function numbers(total) {
  const range = total.low === undefined && total.high === undefined ? "" : ` (${total.low ?? 0}\u2013${total.high ?? 0})`;
  const entries = [["Different visitors today", `${number(total.visitors)}${range}`], ["Came before", number(total.returning)], ["Visits", number(total.visits)],
    ["Median stay", Number.isNaN(seconds(total.medianDwell)) ? "\u2013" : duration(seconds(total.medianDwell))], ["Too poor to decide", number(total.undecidedTracks)]];
  return h("dl.big-numbers.card", {}, entries.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function card(visitor, again) {
  const place = h("span.nobody.face", { style: { "--size": "144px" } }, "no picture");
  const seeing = new IntersectionObserver(async ([entry]) => {
    if (!entry.isIntersecting) return;
    seeing.disconnect();
    const { appearances = [] } = await call("VisitorService/GetVisitor", { visitorId: visitor.visitorId }).catch(() => ({}));
    const newest = appearances.at(-1);
    if (newest && may("biometric")) place.replaceWith(face(`/faces/${newest.trackId}.jpg`, "", 144, "no picture"));
  });
  seeing.observe(place);
  return h("li", {}, h("button.person-card.card", { type: "button", onclick: () => open(visitor, again) }, place, h("strong", {}, short(visitor.visitorId)),
    h("span.line", {}, visitor.present ? "in view now" : `seen ${moment(visitor.lastSeenAt)}`), h("span.line", {}, `${count(visitor.visits ?? 0, "visit")}, ${(visitor.streamIds ?? []).join(", ")}`)));
}

async function open(visitor, again) {
  const list = h("ul.faces", {}, h("li.dim", {}, "Reading the appearances"));
  const name = h("input", { required: true, maxLength: 200, autocomplete: "off" });
  const preview = h("div", { "aria-live": "polite" });
  let seen = "";
  const request = () => ({ visitorId: visitor.visitorId, newPerson: { displayName: name.value.trim() } });
  const erase = async () => {
    const answer = await call("VisitorService/EraseVisitor", { visitorId: visitor.visitorId });
    said((answer.found ?? []).length ? `Something is still there: ${answer.found.join("; ")}` : `${short(visitor.visitorId)} was erased, and nothing was found afterwards.`);
    await again();
    return true;
  };
  const shown = ask(short(visitor.visitorId), [
    h("p.dim", {}, `First seen ${moment(visitor.firstSeenAt)}, ${count(visitor.visits ?? 0, "visit")}, ${duration(seconds(visitor.dwell) || 0)} in all.`), list,
    may("enrol") ? [field("Who is it?", name, "The past faces get the name, and later ones are recognised."), preview,
      h("button.wrong", { type: "button", onclick: () => { shown.dialog.close(); ask(`Erase ${short(visitor.visitorId)}?`, h("p", {}, "The pseudonym, and the templates and pictures of all its tracks go. This cannot be undone."), { said: "Erase", dangerous: true, submit: erase }); } }, "Erase this visitor")] : null,
  ], {
    said: "Name", wide: true,
    submit: may("enrol") ? async () => {
      const asked = JSON.stringify(request());
      if (seen !== asked) {
        const answer = await call("VisitorService/NameVisitor", { ...request(), dryRun: true });
        fill(preview, changes(answer.changes ?? []), h("p.dim", {}, "Press Name again to do it."));
        seen = asked;
        return false;
      }
      const { entryId } = await call("VisitorService/NameVisitor", request());
      said(`${short(visitor.visitorId)} is ${name.value.trim()} now.`, async () => { await call("GalleryService/Undo", { entryId }); await again(); });
      await again();
      return true;
    } : null,
  });
  const { appearances = [] } = await call("VisitorService/GetVisitor", { visitorId: visitor.visitorId }).catch(() => ({}));
  fill(list, appearances.toReversed().map((one) => h("li", {}, h("a", { href: `/tracks/${one.trackId}` }, face(may("biometric") ? `/faces/${one.trackId}.jpg` : "", "", 88, "no picture"), h("span.line", {}, one.streamId), h("span.line.dim", {}, moment(one.firstSeenAt))))));
}
