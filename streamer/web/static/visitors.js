// Unknown visitors: people who are not enrolled, under pseudonyms, with how many they are.
import { call, may, report } from "./api.js";
import { fill, h } from "./dom.js";
import { face, grows, number, seconds } from "./parts.js";
import { short } from "./propose.js";
import { arrows } from "./shell.js";
import { count, duration, moment } from "./words.js";

const PAGE = 60;

/** Fill the tab. */
export async function showVisitors(panel) {
  fill(panel, h("div.skeleton", {}, "Reading the visitors"));
  const midnight = new Date(new Date().setHours(0, 0, 0, 0)).toISOString();
  const counts = h("div.counts");
  const list = h("ul.cards");
  arrows(list, "a");
  let pageToken = "";
  const more = async () => {
    const answer = await call("VisitorService/ListVisitors", { pageSize: PAGE, pageToken });
    pageToken = answer.nextPageToken ?? "";
    for (const one of answer.visitors ?? []) list.append(card(one));
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

function card(visitor) {
  const picture = visitor.newestTrackId && may("biometric") ? `/faces/${visitor.newestTrackId}.jpg` : "";
  return h("li", {}, h("a.person-card.card", { href: `/visitors/${visitor.visitorId}` }, face(picture, "", 144, "no picture"), h("strong", {}, short(visitor.visitorId)),
    h("span.line", {}, visitor.present ? "in view now" : `seen ${moment(visitor.lastSeenAt)}`), h("span.line", {}, `${count(visitor.visits ?? 0, "visit")}, ${(visitor.streamIds ?? []).join(", ")}`)));
}
