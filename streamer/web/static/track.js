// The page of a track: whose face it is, what is known of it, and why.
import { about, call, may, report } from "./api.js";
import { confirmMatch, joinTracks, partTracks, rejectMatch } from "./correct.js";
import { fill, h, svg } from "./dom.js";
import { short } from "./propose.js";
import { followState } from "./shell.js";
import { ageText, cameraTime, clockWords, colourOf, count, duration, enumWords, looks, moment, who } from "./words.js";

const AGAIN_MS = 2000; // between two looks at the track
const OLDEST = 100; // years, end of the scale
const EXPRESSIONS = {
  NEUTRAL: "#9aa4b2",
  HAPPINESS: "#e8b93a",
  SURPRISE: "#4fb3e8",
  SADNESS: "#5b7fd6",
  ANGER: "#e0603f",
  FEAR: "#9a6fd0",
  DISGUST: "#5da556",
};
const REASONS = {
  SMALL_BOUNDING_BOX: "the face was too small",
  LOW_SHARPNESS: "it was blurred",
  LOW_BRIGHTNESS: "it was too dark",
  EXTREME_POSE: "the head was turned away",
  LOW_CONFIDENCE: "the detector was not sure",
  BUDGET: "it still waits: no worker is free, or there is none",
};
const UNDESCRIBED = {
  CONFLICTING: "its pictures may show several people",
  FALSE_FACE: "it shows no face",
  BORDER: "the edge of the picture cuts the face",
  COVERED: "something covers mouth and nose",
  EXTREME_POSE: "the face is turned away",
  LOW_QUALITY: "the face is too small, blurred or dark",
  TOO_FEW_SAMPLES: "too few of its pictures were analysed",
  NOT_ANALYSED: "none of its pictures was analysed yet",
};
const NOT_NAMED = {
  TOO_LITTLE_EVIDENCE: "there are too few analyses of good pictures",
  BELOW_THRESHOLD: "nobody enrolled is similar enough",
  AMBIGUOUS: "two people are about equally similar",
  NOT_CONFIRMED: "the newest comparison disagrees with those before; the next one decides",
  GALLERY_NOT_READY: "the people are not prepared for this model yet",
  REJECTED: "somebody said that it is not the most similar person",
  ERASED: "the person was erased",
};

const place = document.getElementById("track");
let track = about.values.track;
let hasFace = about.values.hasFace;
let done = null; // what was changed on this page
let shown = ""; // what the page shows

function show() {
  document.title = `${headline()} - Face analytics`;
  shown = JSON.stringify(track);
  const held = place.contains(document.activeElement) ? document.activeElement.textContent : "";
  fill(
    place,
    picture(),
    h("div.about", {}, done, identity(), h("div.pair", {}, age(), expression()), attributes(), why()),
  );
  if (held) [...place.querySelectorAll("a, button")].find((one) => one.textContent === held)?.focus();
}

function headline() {
  const decision = who(track.decision);
  return decision.known || decision.text.startsWith("maybe") ? decision.text : `Face #${track.number}`;
}

function picture() {
  const face = hasFace
    ? h("img", {
        src: `/faces/${track.trackId}.jpg?${track.final ? "final" : (track.samples ?? 0)}`,
        alt: `The best picture of ${headline()}`,
        width: 240,
        height: 240,
      })
    : h("div.nobody", {}, noPicture());
  const fact = (name, value, title) => value && [h("dt", {}, name), h("dd", { title }, value)];
  const live = !track.final;
  const clock = clockWords(track.clockSource);
  const facts = h(
    "dl.facts",
    {},
    fact("Camera", h("a", { href: `/live/${encodeURIComponent(track.streamId)}` }, track.streamId)),
    fact(
      "State",
      live
        ? enumWords(track.state, "TRACK_STATE_") === "lost"
          ? h("span.sign.off", {}, "out of sight")
          : h("span.sign.ok", {}, "in view")
        : h("span.sign.off", {}, `ended: ${enumWords(track.endReason, "END_REASON_")}`),
    ),
    fact("First seen", cameraTime(track.firstCapturedAt, track.firstSeenS), clock),
    fact("Last seen", cameraTime(track.lastCapturedAt, track.lastSeenS), clock),
    fact("In view", duration((track.lastSeenS ?? 0) - (track.firstSeenS ?? 0))),
    fact("Number", `#${track.number}`),
    track.splitFrom && fact("Split off", h("a", { href: `/tracks/${track.splitFrom}` }, "another track")),
    track.mergedInto && fact("Continues", h("a", { href: `/tracks/${track.mergedInto}` }, "as this track")),
    track.visitor?.visitorId && fact("Visitor", h("a", { href: `/visitors/${track.visitor.visitorId}` }, short(track.visitor.visitorId))),
    track.decision?.personId && may("enrol") && fact("Person", h("a", { href: `/people/${encodeURIComponent(track.decision.personId)}` }, "references and journeys")),
    fact("Data", h("a", { href: `/tracks/${track.trackId}.json` }, "JSON")),
  );
  return h("div.picture", { style: { "--track": colourOf(track.number) } }, face, facts);
}

function noPicture() {
  if (!may("biometric")) return "Your token may not see faces.";
  return track.samples
    ? "No picture of this face is kept. The setting store.faces keeps one per face."
    : "No picture of this face was analysed yet.";
}

function identity() {
  const decision = track.decision;
  const found = who(decision);
  const candidates = (decision?.candidates ?? []).filter((one) => one.person);
  const next = candidates[1] ?? "";
  const how = found.known
    ? decision.confirmed
      ? "Somebody confirmed it."
      : `Similarity ${found.detail}${next && `; next ${next.person} ${(next.similarity ?? 0).toFixed(2)}`}.`
    : found.text.startsWith("maybe")
      ? `Not sure: ${found.detail}.`
      : decision
        ? "Nobody who is enrolled."
        : "Nobody is enrolled, so faces have numbers.";
  return h(
    "section.card.who",
    {},
    h("h1", {}, headline()),
    h("p.dim", {}, how),
    candidates.length ? similar(candidates, decision.threshold) : null,
    buttons(found),
  );
}

function similar(candidates, threshold) {
  const bar = (value) =>
    svg(
      "svg",
      { class: "bar-of", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { class: "ground", width: 100, height: 10 }),
      svg("rect", { class: "value", width: 100 * Math.max(0, value), height: 10 }),
      threshold ? svg("line", { class: "threshold", x1: 100 * threshold, x2: 100 * threshold, y1: 0, y2: 10 }) : null,
    );
  return [
    h(
      "ul.candidates",
      { "aria-label": "The most similar people" },
      candidates
        .slice(0, 4)
        .map((one) =>
          h(
            "li",
            {},
            h("span.name", {}, one.person),
            bar(one.similarity ?? 0),
            h("output", {}, (one.similarity ?? 0).toFixed(2)),
          ),
        ),
    ),
    threshold ? h("p.dim", {}, `A name needs ${threshold.toFixed(2)}, the line in the bars.`) : null,
  ];
}

function buttons(found) {
  if (!may("enrol")) return h("p.dim", {}, "Your token may look. Saying who it is needs the scope enrol.");
  const after = async (message) => {
    done = message;
    show();
    await read();
  };
  return h(
    "div.row",
    {},
    h("button.primary", { type: "button", onclick: () => confirmMatch(track, after).catch(report) }, "This is \u2026"),
    found.known
      ? h("button", { type: "button", onclick: () => rejectMatch(track, found.text, after) }, `Not ${found.text}`)
      : null,
    about.values.visitors
      ? [
          h("button", { type: "button", onclick: () => joinTracks(track, after).catch(report) }, "Same as another track"),
          h("button", { type: "button", onclick: () => partTracks(track, after).catch(report) }, "Different from another"),
        ]
      : null,
  );
}

function age() {
  if (!track.age) return h("section.card", {}, h("h2", {}, "Age"), h("p.dim", {}, "Not known, see why below."));
  const [years, low, high] = [track.age.years ?? 0, track.age.lowYears ?? 0, track.age.highYears ?? 0];
  const x = (value) => (100 * Math.min(OLDEST, Math.max(0, value))) / OLDEST;
  const at = (value) => `${x(value)}%`;
  return h(
    "section.card",
    {},
    h("h2", {}, "Age"),
    h("p.big", {}, ageText(track.age)),
    svg(
      "svg",
      {
        class: "scale",
        role: "img",
        "aria-label": `Most likely between ${Math.round(low)} and ${Math.round(high)} years`,
      },
      svg("rect", { class: "ground", width: "100%", height: 14, rx: 3 }),
      svg("rect", { class: "interval", x: at(low), width: `${x(high) - x(low)}%`, height: 14 }),
      svg("rect", { class: "mean", x: at(years), width: 4, height: 14, rx: 2 }),
      [0, 20, 40, 60, 80, 100].map((one) =>
        svg("text", { x: at(one), y: 32, "text-anchor": one === 0 ? "start" : one === OLDEST ? "end" : "middle" }, one),
      ),
    ),
    h(
      "p.dim",
      {},
      `Four of five such faces are between ${Math.round(low)} and ${Math.round(high)}. It is how old the face looks.`,
    ),
  );
}

function expression() {
  const found = track.expression;
  if (!found) return h("section.card", {}, h("h2", {}, "Expression"), h("p.dim", {}, "Not known, see why below."));
  const name = (one) => one.expression.replace("EXPRESSION_", "");
  const [start, end] = [track.firstSeenS ?? 0, Math.max(track.lastSeenS ?? 0, (track.firstSeenS ?? 0) + 0.1)];
  const at = (time) => `${(100 * (time - start)) / (end - start)}%`;
  const said = (one) => `${looks(name(one))} ${Math.round(100 * one.share)} %`;
  const shares = (found.distribution ?? []).filter((one) => (one.share ?? 0) >= 0.03).sort((a, b) => b.share - a.share);
  const now = looks(found.appears);
  const segments = (found.timeline ?? []).map((one) =>
    svg(
      "rect",
      {
        x: at(one.startS ?? 0),
        width: `${(100 * (one.endS - (one.startS ?? 0))) / (end - start)}%`,
        height: 28,
        fill: EXPRESSIONS[name(one)],
      },
      svg("title", {}, `${looks(name(one))}, ${duration(one.endS - (one.startS ?? 0))}`),
    ),
  );
  return h(
    "section.card",
    {},
    h("h2", {}, "Expression"),
    h("p.big", {}, now ? `appears ${now}` : "unclear now"),
    svg(
      "svg",
      {
        class: "ribbon",
        role: "img",
        "aria-label": `Over time: ${shares.map(said).join(", ")}`,
      },
      segments,
    ),
    h(
      "div.times",
      {},
      h("span", {}, cameraTime(track.firstCapturedAt, start)),
      h("span", {}, cameraTime(track.lastCapturedAt, end)),
    ),
    h(
      "ul.legend",
      {},
      shares.map((one) =>
        h("li", { style: { "--of": EXPRESSIONS[name(one)] } }, `${looks(name(one))} ${Math.round(100 * one.share)} %`),
      ),
    ),
  );
}

function attributes() {
  const known = (track.attributes?.scores ?? []).filter((one) => one.presence === "PRESENCE_PRESENT");
  if (!known.length) return null;
  return h(
    "section.card",
    {},
    h("h2", {}, "Looks"),
    h(
      "div.chips",
      {},
      known.map((one) => h("span.chip", {}, enumWords(one.attribute, "ATTRIBUTE_"))),
    ),
  );
}

function why() {
  const lines = [];
  const samples = track.samples ?? 0;
  lines.push(
    samples
      ? `${count(samples, "analysis", "analyses")}, the best quality is ${(track.quality ?? 0).toFixed(2)} of 1.`
      : "No picture of it was analysed.",
  );
  if (track.modelId)
    lines.push(`Model ${track.modelId.length > 40 ? `${track.modelId.slice(0, 40)}\u2026` : track.modelId}.`);
  for (const one of track.reasons ?? [])
    lines.push(`Not analysed, because ${REASONS[one.replace("REASON_", "")] ?? enumWords(one, "REASON_")}.`);
  for (const one of track.undescribedReasons ?? [])
    lines.push(`Not described, because ${UNDESCRIBED[one.replace("UNDESCRIBED_REASON_", "")] ?? enumWords(one)}.`);
  const reason = (track.decision?.reason ?? "").replace("IDENTITY_REASON_", "");
  if (reason) lines.push(`Not named, because ${NOT_NAMED[reason] ?? enumWords(reason)}.`);
  if (track.identity?.outliers)
    lines.push(`Left out, because they do not resemble the others: ${count(track.identity.outliers, "picture")}.`);
  lines.push(`The detector's score was ${(track.detectionScore ?? 0).toFixed(2)}.`);
  return h(
    "section.card",
    {},
    h("h2", {}, "Why"),
    h(
      "ul.why",
      {},
      lines.map((one) => h("li", {}, one)),
    ),
  );
}

async function read() {
  try {
    const answer = await call("TrackService/GetTrack", { trackId: track.trackId, includeFace: !hasFace });
    track = answer.track;
    hasFace ||= Boolean(answer.faceJpeg);
    document.getElementById("notices").replaceChildren();
  } catch (error) {
    report(error);
    return;
  }
  const typing = document.querySelector("dialog[open]");
  if (!typing && JSON.stringify(track) !== shown) show();
}

/** Read it again and again, also when it has ended: what is said about people revises past tracks a moment later. */
async function follow() {
  if (!document.hidden) await read();
  setTimeout(follow, AGAIN_MS);
}

show();
followState();
setTimeout(follow, AGAIN_MS);
