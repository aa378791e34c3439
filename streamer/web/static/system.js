// The system: how fast it is, what limits it, what it keeps, who may use it, and what is wrong.
import { all, call, may, words } from "./api.js";
import { findings } from "./doctor.js";
import { command, fill, h, svg } from "./dom.js";
import { bytes, head, number, page, seconds } from "./parts.js";
import { followState } from "./shell.js";
import { count, duration, enumWords, moment } from "./words.js";

const AGAIN_MS = 5000;
const LEVELS = { FAIL: "wrong", WARN: "attention", OK: "ok" };
const LIMITS = { DETECTOR: "the detector", WORKERS: "the workers", CPU: "the processors", STREAMS: "the setting sources.max_streams" };

const panel = (title, ...more) => { const body = h("div", {}, h("div.skeleton", {}, "Asking")); return { element: h("section.card", {}, h("h2", {}, title), body, more), body }; };
const speed = panel("Speed");
const models = panel("Workers and models");
const queues = panel("Queues and budget");
const store = panel("Store");
const doctor = panel("Doctor");
const about = panel("This streamer");
const tokens = panel("Tokens");
const log = panel("Who changed what");
fill(page, head("System"), h("div.panels", {}, doctor.element, speed.element, models.element, queues.element, store.element, about.element,
  may("admin") ? [tokens.element, log.element] : null));
log.element.classList.add("wide");

const scrolling = (table) => h("div.scroll", { tabIndex: 0 }, table);
const big = (entries) => h("dl.big-numbers", {}, entries.map(([name, value, title]) => h("div", { title }, h("dt", {}, name), h("dd", {}, value))));
const facts = (entries) => h("dl.facts", {}, entries.filter(Boolean).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
const ms = (text) => (Number.isNaN(seconds(text)) ? "\u2013" : seconds(text) >= 10 ? `${seconds(text).toFixed(1)} s` : `${Math.round(1000 * seconds(text))} ms`);
const share = (value) => (value === undefined ? "\u2013" : `${Math.round(100 * value)} %`);
const meter = (value) => svg("svg", { class: "meter", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
  svg("rect", { class: "ground", width: 100, height: 8 }), svg("rect", { class: "value", width: 100 * Math.min(1, Math.max(0, value ?? 0)), height: 8 }));

/** Fill a panel only if what it shows has changed. */
function put(place, ...content) {
  const made = h("div", {}, content);
  if (place.body.firstElementChild?.innerHTML !== made.innerHTML) fill(place.body, made);
}

/** Ask, and show the answer or the error in the panel itself. */
async function into(place, asking, draw) {
  try {
    put(place, draw(await asking()));
  } catch (error) {
    put(place, words(error));
  }
}

function showSpeed([stats, capacity]) {
  const { latency = {}, tracks = {}, frames = {} } = stats;
  const window = seconds(latency.window);
  const fits = capacity.moreStreams === undefined ? "not known yet" : capacity.moreStreams ? count(capacity.moreStreams, "more camera") : "no other camera";
  const limit = LIMITS[(capacity.limitedBy ?? "").replace("CAPACITY_LIMIT_", "")];
  return [big([
    ["Camera to answer, median", ms(latency.p50), "Time from the arrival of a frame to the publication of its analysis"], ["95 % within", ms(latency.p95)],
    ["Frames searched/s", (capacity.searchesPerSecond ?? 0).toFixed(1)], ["Faces in view", number(tracks.active)]]),
  h("p.dim", {}, Number(latency.results ?? 0) ? `${number(latency.results)} answers in the last ${Math.round(window)} s.` : "No answer in the last minute: nobody is in view, or no worker is connected."),
  facts([
    ["Detector", [`busy ${share(capacity.detectorUse)}, ${ms(capacity.detectorTime)} per search`, meter(capacity.detectorUse)]],
    ["Workers", [`busy ${share(capacity.workerUse)}`, meter(capacity.workerUse)]],
    ["Processors", [`busy ${share(capacity.cpuUse)}`, meter(capacity.cpuUse)]],
    ["Room for", `${fits}${limit ? `; ${limit} would be exhausted first` : ""}`],
    ["Frames", `${number(frames.decoded)} decoded, ${number(frames.analysed)} searched, ${number(frames.missing)} never came`],
  ])];
}

function showModels(found) {
  if (!found.length) {
    return [h("p.notice", {}, "No worker is connected, so faces get boxes, but no age, expression or name. Start one:"), command("swinface worker --connect ipc:///tmp/faceanalytics-workers.ipc --device cpu"),
      h("p.dim", {}, "The address is dispatch.bind of the streamer's configuration.")];
  }
  const outputs = (one) => [one.hasAge && "age", one.hasExpression && "expression", one.attributes?.length && count(one.attributes.length, "attribute"), one.hasIdentity && "identity"].filter(Boolean).join(", ");
  return scrolling(h("table", {}, h("thead", {}, h("tr", {}, ["Model", "Workers", "Says", "Terms"].map((one) => h("th", { scope: "col" }, one)))),
    h("tbody", {}, found.map((one) => h("tr", {}, h("td", {}, one.modelId), h("td", {}, String(one.workers ?? 0)), h("td", {}, outputs(one)), h("td", {}, one.licence || "not stated"))))));
}

function showQueues([stats, capacity]) {
  const { crops = {}, subscribers = {}, store: kept = {} } = stats;
  const lost = Object.entries(crops.lost ?? {}).map(([why, many]) => `${number(many)} ${enumWords(why)}`).join(", ");
  const skipped = Object.entries(crops.skipped ?? {}).map(([why, many]) => `${number(many)} ${enumWords(why)}`).join(", ");
  return [big([["Faces that wait", number(crops.waiting)], ["Analyses/s", (capacity.analysesPerSecond ?? 0).toFixed(1)],
    ["Budget/s", capacity.allowedAnalysesPerSecond === undefined ? "no limit" : capacity.allowedAnalysesPerSecond.toFixed(1)], ["Events to store", number(kept.backlog)]]),
  facts([["Analysed", `${number(crops.sent)} faces in ${count(number(crops.batches), "batch", "batches")}`], ["Given up", lost || "nothing"], ["Not sent", skipped || "nothing"],
    ["Watching", `${count(subscribers.watching ?? 0, "program")}; ${number(subscribers.dropped)} ended because they did not read`]])];
}

function showStore(found) {
  const { state = {}, contents, retention = {} } = found;
  const days = (value) => (value === undefined ? "without limit" : `${value} days`);
  return [state.degraded ? h("p.problem", {}, h("strong", {}, `The database has not worked since ${moment(state.degradedSince)}.`), "Events are published, and wait to be stored. The log of the streamer says why.") : h("p", {}, h("span.sign.ok", {}, "stores what happens")),
    big([["Database", contents ? bytes(contents.databaseBytes) : "\u2013"], ["Tracks", number(contents?.rows?.tracks)], ["Pictures", number(contents?.rows?.faces)], ["Events", number(contents?.rows?.events)]]),
    facts([["Kind", enumWords(found.kind, "STORE_KIND_")], ["Keeps tracks", days(retention.tracksDays)], ["Keeps events", days(retention.eventsDays)],
      ["Keeps pictures", retention.faces ? (retention.facesDays === undefined ? "as long as their tracks" : days(retention.facesDays)) : "none"], ["Keeps the audit log", days(retention.auditDays)],
      ["Largest size", retention.maxSizeBytes === undefined ? "no limit" : bytes(retention.maxSizeBytes)], contents?.oldestEventAt && ["Oldest event", moment(contents.oldestEventAt)], Number(state.lost ?? 0) > 0 && ["Not stored", count(number(state.lost), "event")]])];
}

function showDoctor({ findings: found = [], examinedAt }) {
  const line = (one) => {
    const level = one.level.replace("FINDING_LEVEL_", "");
    return h("div.finding", {}, h(`span.sign.${LEVELS[level]}`, {}, one.check), h("div", {}, h("p", {}, one.found), one.advice ? h("p.dim", {}, `What to do: ${one.advice}`) : null));
  };
  const fine = found.filter((one) => one.level === "FINDING_LEVEL_OK");
  const bad = found.filter((one) => one.level !== "FINDING_LEVEL_OK");
  return [bad.length ? bad.map(line) : h("p", {}, h("span.sign.ok", {}, "Nothing to complain about.")),
    h("details", {}, h("summary", {}, `${count(fine.length, "thing")} ${fine.length === 1 ? "is" : "are"} as they should be`), fine.map(line)),
    h("p.dim", {}, `Examined ${moment(examinedAt)}. `, h("code", {}, "streamer doctor"), " examines more, such as cameras, before a start.")];
}

function showAbout([{ process = {} }]) {
  return facts([["Version", process.version], ["Started", moment(process.startedAt)], ["Running for", duration(seconds(process.uptime))], ["Processor time", `${duration(seconds(process.cpuTime))} on ${count(process.cpus ?? 0, "processor")}`],
    ["Memory", bytes(process.memoryBytes)], ["Run", process.instanceId], ["Metrics", "for Prometheus at metrics.listen of the configuration, path /metrics"]]);
}

function showTokens(found) {
  if (!found.length) return [h("p", {}, "No token was made, so everybody on this machine may do everything. The first token closes that door:"), command("streamer tokens create --name me --scope admin")];
  const state = (one) => (one.revokedAt ? ["off", `revoked ${moment(one.revokedAt)}`] : one.expiresAt && new Date(one.expiresAt) < new Date() ? ["off", `expired ${moment(one.expiresAt)}`] : ["ok", one.expiresAt ? `until ${moment(one.expiresAt)}` : "never expires"]);
  return [scrolling(h("table", {}, h("thead", {}, h("tr", {}, ["Name", "May", "Cameras", "Valid"].map((one) => h("th", { scope: "col" }, one)))),
    h("tbody", {}, found.map((one) => h("tr", {}, h("td", {}, one.displayName), h("td", {}, (one.scopes ?? []).join(", ")), h("td", {}, (one.streamIds ?? []).join(", ") || "all"), h("td", {}, h(`span.sign.${state(one)[0]}`, {}, state(one)[1]))))))),
  h("p.dim", {}, "Made and revoked by ", h("code", {}, "streamer tokens"), "; a token itself is shown only once, when it is made.")];
}

function showLog(entries) {
  if (!entries.length) return h("p.dim", {}, "Nothing was changed or refused yet.");
  return scrolling(h("table", {}, h("thead", {}, h("tr", {}, ["When", "Who", "What", "To what", "Outcome"].map((one) => h("th", { scope: "col" }, one)))),
    h("tbody", {}, entries.map((one) => h("tr", {}, h("td", {}, moment(one.at)), h("td", {}, one.actor), h("td", {}, one.method.split("/").pop()), h("td", {}, one.target || "\u2013"),
      h("td", {}, h(`span.sign.${one.outcome === "OK" ? "ok" : "wrong"}`, {}, one.outcome, one.notListed ? ` (${one.notListed} more not listed)` : "")))))));
}

async function look() {
  const both = Promise.all([call("SystemService/GetStats"), call("SystemService/GetCapacity")]);
  both.catch(() => undefined);
  await Promise.all([
    into(speed, () => both, showSpeed), into(queues, () => both, showQueues), into(about, () => both, showAbout),
    into(models, () => all("SystemService/ListModels", { pageSize: 100 }, "models"), showModels),
    into(store, () => call("SystemService/GetStore"), showStore),
  ]);
}

async function lookAtRest() {
  await into(doctor, findings, showDoctor);
  if (!may("admin")) return;
  await into(tokens, () => all("InspectionService/ListTokens", { pageSize: 1000 }, "tokens"), showTokens);
  await into(log, async () => (await call("InspectionService/ListAuditEntries", { pageSize: 50 })).entries ?? [], showLog);
}

async function follow() {
  if (!document.hidden) await look();
  setTimeout(follow, AGAIN_MS);
}

follow();
lookAtRest();
followState();
