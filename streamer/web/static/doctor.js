// A banner on every page for what the doctor finds wrong. The findings are kept for a while, also from page to page.
import { about, call } from "./api.js";
import { h } from "./dom.js";
import { count } from "./words.js";

const KEPT_MS = 120e3;
const NAME = "doctor";

/** What the doctor has found: {findings, examinedAt}. */
export async function findings() {
  const kept = JSON.parse(sessionStorage.getItem(NAME) ?? "null");
  if (kept && kept.who === about.csrf && Date.now() - kept.at < KEPT_MS) return kept.answer;
  const answer = await call("InspectionService/GetFindings");
  sessionStorage.setItem(NAME, JSON.stringify({ who: about.csrf, at: Date.now(), answer }));
  return answer;
}

async function look() {
  const { findings: found = [] } = await findings();
  const wrong = found.filter((one) => one.level === "FINDING_LEVEL_FAIL");
  document.querySelector(".doctor")?.remove();
  if (!wrong.length) return;
  const [first] = wrong;
  const more = wrong.length > 1 ? ` And ${count(wrong.length - 1, "other problem")}.` : "";
  document.body.append(h("aside.doctor", { "aria-label": "Problems" },
    h("p.sign.wrong", {}, h("span", {}, `${first.check}: ${first.found}${first.advice ? ` \u2014 ${first.advice}` : ""}.${more}`)),
    location.pathname === "/system" ? null : h("a", { href: "/system" }, "What to do")));
}

if (about.scopes.includes("read")) {
  look().catch(() => undefined);
  setInterval(() => { if (!document.hidden) look().catch(() => undefined); }, KEPT_MS);
}
