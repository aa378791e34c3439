// Recordings: files that are analysed as jobs, and what became of them.
import { about, all, ApiError, call, may, report } from "./api.js";
import { fill, h } from "./dom.js";
import { ask, bytes, field, head, page, said } from "./parts.js";
import { sha256 } from "./sha256.js";
import { arrows, followState } from "./shell.js";
import { count, duration, enumWords, moment } from "./words.js";

const AGAIN_MS = 2000;
const STATES = { QUEUED: "off", RUNNING: "attention", SUCCEEDED: "ok", FAILED: "wrong", CANCELLED: "off" };
const rows = new Map(); // by job id
const people = new Map(); // by job id: number of people that were found
const list = h("ul.rows", { "aria-label": "Jobs" });
const empty = h("div", {}, h("div.skeleton", {}, "Reading the jobs"));
fill(page, head("Recordings", may("operate") ? h("button.primary", { type: "button", onclick: analyse }, "Analyse a recording") : null), empty, list);
arrows(list, ".job");

const seconds = (text) => Number.parseFloat(text ?? "0") || 0;
const state = (job) => (job.state ?? "").replace("JOB_STATE_", "");
const ended = (job) => ["SUCCEEDED", "FAILED", "CANCELLED"].includes(state(job));
const address = (job, name) => `/recordings/${encodeURIComponent(job.jobId)}/${name.split("/").map(encodeURIComponent).join("/")}`;

function words(job) {
  const now = state(job);
  const rate = job.framesPerSecond ?? 0;
  const left = Number(job.framesExpected ?? 0) - Number(job.framesDone ?? 0);
  if (now === "QUEUED") return job.jobsBefore ? `waits for ${count(job.jobsBefore, "job")} before it` : "waits for a worker, or its turn";
  if (now === "RUNNING") return `${Math.round(100 * (job.progress ?? 0))} %${rate > 0 && left > 0 ? `, about ${duration(left / rate)} left` : ", time left not known yet"}${rate ? ` \u00b7 ${rate.toFixed(1)} frames/s` : ""}`;
  if (now === "FAILED") return `failed: ${job.error}`;
  if (now === "CANCELLED") return "cancelled; there are no results";
  const took = (new Date(job.endedAt) - new Date(job.startedAt)) / 1000;
  const length = seconds(job.mediaTime);
  const found = people.has(job.jobId) && people.get(job.jobId) !== null ? `${count(people.get(job.jobId), "person", "people")} found \u00b7 ` : "";
  return `${found}${length ? `${duration(length)} long \u00b7 ` : ""}analysed in ${duration(took)}${took > 0 && length > 0 ? ` (${(length / took).toFixed(1)} times its speed)` : ""}`;
}

function makeRow(job) {
  const progress = h("progress", { max: 1, "aria-label": `Progress of ${job.recording}` });
  const text = h("p.sign");
  const problems = h("p.dim");
  const buttons = h("div.row");
  const files = h("details.files", { ontoggle: () => { if (files.open) showFiles(job, files); } }, h("summary", {}, "All files"), h("ul.plain"));
  const element = h("li.job.card", { tabIndex: 0, "data-job": job.jobId }, h("div", {}, h("h2", {}, job.recording), h("p.dim", {}, `${job.path ? "from the streamer's machine" : "uploaded"} \u00b7 added ${moment(job.createdAt)}`)),
    h("div", {}, text, progress, problems), buttons, files);
  element.addEventListener("keydown", (event) => { if (event.key === "Enter" && event.target === element) element.querySelector("a.primary")?.click(); });
  return { element, progress, text, problems, buttons, files, shown: "" };
}

function showRow(row, job) {
  row.text.className = `sign ${STATES[state(job)] ?? "off"}`;
  if (row.text.textContent !== words(job)) row.text.textContent = words(job);
  row.progress.hidden = ended(job);
  if (state(job) === "RUNNING") row.progress.value = job.progress ?? 0;
  row.problems.textContent = (job.problems ?? []).join("; ");
  row.files.hidden = state(job) !== "SUCCEEDED";
  if (row.shown === job.state) return;
  row.shown = job.state;
  const mine = may("operate");
  fill(row.buttons,
    state(job) === "SUCCEEDED" && may("biometric") && job.options?.report ? h("a.button.primary", { href: address(job, "report.html"), target: "_blank", rel: "noopener" }, "Report") : null,
    mine && !ended(job) ? h("button", { type: "button", onclick: () => cancel(job) }, "Cancel") : null,
    mine && ended(job) ? h("button", { type: "button", onclick: () => remove(job) }, "Delete") : null);
  if (state(job) === "SUCCEEDED" && !people.has(job.jobId)) countPeople(job);
}

/** How many people were found, which is in the summary of the results. */
async function countPeople(job) {
  people.set(job.jobId, null);
  if (!may("biometric")) return;
  try {
    const response = await fetch(address(job, "summary.json"));
    if (!response.ok) return;
    const summary = await response.json();
    people.set(job.jobId, summary.people ?? null);
  } catch { /* the row does without */ }
}

async function showFiles(job, place) {
  const target = place.querySelector("ul");
  if (target.childElementCount) return;
  try {
    const found = await all("AnalysisService/ListResults", { jobId: job.jobId, pageSize: 1000 }, "results");
    fill(target, found.map((one) => h("li", {}, may("biometric") ? h("a", { href: address(job, one.name), target: "_blank", rel: "noopener" }, one.name) : one.name, h("span.dim", {}, ` ${bytes(one.sizeBytes)}`))));
  } catch (error) {
    report(error);
  }
}

async function cancel(job) {
  ask(`Cancel ${job.recording}?`, h("p", {}, "What was analysed so far is thrown away."), { said: "Cancel the job", dangerous: true, submit: async () => { await call("AnalysisService/CancelJob", { jobId: job.jobId }); said("The job was cancelled."); await look(); return true; } });
}

async function remove(job) {
  ask(`Delete ${job.recording}?`, h("p", {}, "The job and its results are removed. The recording itself stays where it is, unless it was uploaded."), { said: "Delete it", dangerous: true, submit: async () => { await call("AnalysisService/DeleteJob", { jobId: job.jobId }); said("The job was deleted."); await look(); return true; } });
}

async function analyse() {
  const file = h("input", { type: "file", accept: "video/*,image/gif" });
  const named = h("select", {}, h("option", { value: "" }, "reading the folders"));
  const progress = h("progress", { max: 1, hidden: true, "aria-label": "Upload" });
  const note = h("p.dim", { role: "status" });
  const annotate = h("input", { type: "checkbox" });
  const tables = h("input", { type: "checkbox" });
  ask("Analyse a recording", [
    field("Upload a file", file), h("p.dim", {}, "or"), field("Name one on the streamer's machine", named, "From the folders of jobs.inputs."),
    h("label.check", {}, annotate, " Also make a video with boxes and names"), h("label.check", {}, tables, " Also make tables (CSV)"), progress, note,
  ], {
    said: "Analyse", wide: true,
    submit: async () => {
      const [chosen] = file.files;
      if (!chosen && !named.value) { note.textContent = "Choose a file first."; return false; }
      const options = { report: true, annotate: annotate.checked, tables: tables.checked ? ["TABLE_FORMAT_CSV"] : [] };
      const source = chosen ? { uploadId: await upload(chosen, progress, note) } : { path: named.value };
      await call("AnalysisService/StartJob", { ...source, options, requestId: crypto.getRandomValues(new Uint32Array(4)).join("-") });
      said(`${chosen?.name ?? named.value.split("/").pop()} waits for its turn. Cameras go first.`);
      await look();
      return true;
    },
  });
  file.focus();
  const found = await all("InspectionService/ListRecordings", { pageSize: 1000 }, "recordings").catch(() => []);
  fill(named, h("option", { value: "" }, found.length ? "choose a recording" : "there is no recording in these folders"), found.map((one) => h("option", { value: one.path }, `${one.path} (${bytes(one.sizeBytes)})`)));
}

async function upload(file, progress, note) {
  progress.hidden = false;
  note.textContent = "Reading the file";
  const digest = await sha256(file, (share) => { progress.value = share; });
  note.textContent = `Sending ${bytes(file.size)}`;
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/recordings/upload?name=${encodeURIComponent(file.name)}&sha256=${digest}`);
    request.setRequestHeader("x-csrf-token", about.csrf);
    request.responseType = "json";
    request.upload.onprogress = (event) => { progress.value = event.loaded / event.total; };
    request.onload = () => (request.status === 200 ? resolve(request.response.uploadId) : reject(new ApiError(request.response ?? { code: "INTERNAL", text: `the streamer answered ${request.status}` })));
    request.onerror = () => reject(new ApiError({ code: "UNREACHABLE", text: "the upload was cut off: nothing of it is kept" }));
    request.send(file);
  });
}

function nothing() {
  return h("section.card.teach", {}, h("h2", {}, "No recording was analysed yet"), h("p", {}, "A recording is analysed frame by frame, at its own pace, while cameras go first. The result is a page with a timeline for each person, and files for other programs."),
    may("operate") ? h("p", {}, h("button.primary", { type: "button", onclick: analyse }, "Analyse a recording")) : h("p.dim", {}, "Adding one needs a token with the scope operate."));
}

async function look() {
  const jobs = (await all("AnalysisService/ListJobs", { pageSize: 1000 }, "jobs")).toReversed();
  const present = new Set(jobs.map((one) => one.jobId));
  for (const [id, row] of rows) if (!present.has(id)) { row.element.remove(); rows.delete(id); }
  jobs.forEach((job, place) => {
    let row = rows.get(job.jobId);
    if (!row) { row = makeRow(job); rows.set(job.jobId, row); }
    showRow(row, job);
    if (list.children[place] !== row.element) list.insertBefore(row.element, list.children[place] ?? null);
  });
  if (jobs.length) empty.replaceChildren();
  else if (!empty.querySelector(".teach")) fill(empty, nothing());
}

async function follow() {
  try {
    if (!document.hidden) await look();
  } catch (error) {
    empty.replaceChildren();
    if (["FAILED_PRECONDITION", "PERMISSION_DENIED"].includes(error.code)) { fill(empty, h("section.card.teach", {}, h("h2", {}, "There are no recordings here"), h("p", {}, error.message))); return; }
    report(error);
  }
  setTimeout(follow, AGAIN_MS);
}

follow();
followState();
