// Calls of the API, with the session of whoever looks. The names are those of the .proto files.
import { h } from "./dom.js";

/** What the server said about this page: {csrf, scopes, values}. */
export const about = JSON.parse(document.getElementById("about").textContent);

/** An error of the API: `code` such as NOT_FOUND, `reason` see errors.proto, `fields` what is wrong by field. */
export class ApiError extends Error {
  constructor({ code, reason = "", text, fields = {} }) {
    super(text);
    this.code = code;
    this.reason = reason;
    this.fields = fields;
  }
}

/** The answer to a request: await call("StreamService/GetStream", {streamId: "door"}). Throws ApiError. */
export async function call(method, request = {}, signal = undefined) {
  return send(method, JSON.stringify(request), signal);
}

/** The answer to a stream of requests, such as GalleryService/AddReferences. Throws ApiError. */
export async function callWithAll(method, requests) {
  return send(method, requests.map((one) => JSON.stringify(one)).join("\n"));
}

async function send(method, body, signal = undefined) {
  let response;
  try {
    const headers = { "content-type": "application/json", "x-csrf-token": about.csrf };
    response = await fetch(`/api/${method}`, { method: "POST", headers, body, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ code: "UNREACHABLE", text: "the streamer does not answer" });
  }
  const answer = await response.json().catch(() => null); // null: it broke off, such as when the page is left
  if (response.ok && answer) return answer;
  if (response.status === 401)
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  throw new ApiError(answer ?? { code: "INTERNAL", text: `the streamer answered ${response.status}, and broke off` });
}

/** All pages of a list: await all("StreamService/ListStreams", {}, "streams"). */
export async function all(method, request, field) {
  const found = [];
  let pageToken = "";
  do {
    const page = await call(method, { ...request, pageToken });
    found.push(...(page[field] ?? []));
    pageToken = page.nextPageToken ?? "";
  } while (pageToken);
  return found;
}

/** Whether whoever looks may do what needs a scope: pages hide what the server would refuse anyway. */
export function may(scope) {
  return about.scopes.includes(scope);
}

const REMEDY = {
  UNREACHABLE: "What you see is the last known state. This page goes on by itself when the streamer is back.",
  PERMISSION_DENIED: "Nothing was changed. Sign in with a token that has the scope.",
  UNAVAILABLE: "Nothing was changed. Try again in a moment.",
  RESOURCE_EXHAUSTED: "Nothing was changed.",
  ABORTED: "Somebody else changed it meanwhile. Load the page again.",
};

/** An error in words: what happened, what stays true, what to do. */
export function words(error) {
  if (!(error instanceof ApiError)) throw error;
  const lines = Object.entries(error.fields).map(([field, problem]) => h("div", {}, `${field}: ${problem}`));
  const text = lines.length ? lines : error.message;
  return h("div.problem", {}, h("strong", {}, text), REMEDY[error.code] ?? "Nothing was changed.");
}

/** Show an error above the page, until the next one. */
export function report(error) {
  document.getElementById("notices").replaceChildren(words(error));
}
