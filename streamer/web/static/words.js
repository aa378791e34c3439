// Says in words what the API says in numbers and names. All pages use these, so that they say it in the same way.

/** "about 34 (28-41)", or "" if the age is not known. `age`: AgeEstimate. */
export function ageText(age) {
  if (!age) return "";
  const [years, low, high] = [age.years, age.lowYears ?? 0, age.highYears ?? 0].map((one) =>
    Math.max(0, Math.round(one ?? 0)),
  );
  return `about ${years} (${low}\u2013${high})`;
}

const LOOKS = {
  SURPRISE: "surprised",
  FEAR: "afraid",
  DISGUST: "disgusted",
  HAPPINESS: "happy",
  SADNESS: "sad",
  ANGER: "angry",
  NEUTRAL: "neutral",
};

/** "happy", or "" if it is unclear. `name`: HAPPINESS, EXPRESSION_HAPPINESS. */
export function looks(name) {
  return LOOKS[(name ?? "").replace("EXPRESSION_", "").toUpperCase()] ?? "";
}

/** Who it is, never a bare name unless that is sure: {text, sure, known}. `decision`: IdentityDecision. */
export function who(decision) {
  if (!decision) return { text: "", sure: false, known: false };
  const [first, second] = decision.candidates ?? [];
  const status = (decision.status ?? "").replace("IDENTITY_STATUS_", "");
  const score = (one) => (one.similarity ?? 0).toFixed(2);
  if (status === "IDENTIFIED") {
    const how = decision.confirmed ? "confirmed" : first ? score(first) : "";
    return { text: decision.person || "known person", detail: how, sure: true, known: true };
  }
  if (status === "UNDECIDED" && first?.person) {
    const next = second?.person ? `, next ${second.person} ${score(second)}` : "";
    return { text: `maybe ${first.person}`, detail: `${score(first)}${next}`, sure: false, known: false };
  }
  return { text: status === "UNKNOWN" ? "unknown" : "", detail: "", sure: false, known: false };
}

/** A name of an enum in plain words: enumWords("END_REASON_LEFT_FRAME", "END_REASON_") is "left frame". */
export function enumWords(name, prefix = "") {
  return (name ?? "").replace(prefix, "").toLowerCase().replaceAll("_", " ");
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });

/** A moment in the time zone of the browser: the time today, else the day and the time. */
export function moment(text) {
  if (!text) return "";
  const at = new Date(text);
  const sameDay = at.toDateString() === new Date().toDateString();
  return sameDay ? TIME.format(at) : `${DAY.format(at)}, ${TIME.format(at)}`;
}

/** How long: "4 s", "3 min", "2 h 5 min", "3 days". */
export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} days`;
}

/** "1 face", "2 faces". */
export function count(number, one, many = `${one}s`) {
  return `${number} ${Number(number) === 1 ? one : many}`;
}

const CLOCKS = {
  RTCP_NTP: "the camera's own clock",
  ARRIVAL: "when it arrived here",
  FILE_PTS: "time within the file",
};

/** Where a time comes from, for titles. */
export function clockWords(source) {
  return CLOCKS[(source ?? "").replace("CLOCK_SOURCE_", "")] ?? "";
}

/** The state of a camera in words: {sign, text}. `stream`: Stream. */
export function cameraState(stream) {
  const state = (stream.state ?? "").replace("STREAM_STATE_", "");
  const since = stream.stateSince ? ` since ${moment(stream.stateSince)}` : "";
  const problem = stream.errorMessage ? `: ${stream.errorMessage}` : "";
  const known = {
    RUNNING: ["ok", `running${since}`],
    CONNECTING: ["attention", `connecting${since}${problem}`],
    RECONNECTING: ["wrong", `lost${since}${problem}; it is tried again`],
    PAUSED: ["off", `paused${since}`],
    ENDED: ["off", `played to its end${stream.stateSince ? ` at ${moment(stream.stateSince)}` : ""}`],
    ERROR: ["wrong", `not usable${since}${problem}`],
  };
  const [sign, text] = known[state] ?? ["off", "not known"];
  return { sign, text, running: state === "RUNNING" };
}

/** Colours of tracks by number: told apart with any colour vision, on pictures; the same as in annotated videos. */
export const COLOURS = [
  "#56b4e9",
  "#e69f00",
  "#2fc29b",
  "#f0e442",
  "#d98cb8",
  "#ff7a33",
  "#8fb8ff",
  "#c7a6ff",
  "#b8e06a",
  "#ffffff",
];
export const colourOf = (number) => COLOURS[(number - 1 + COLOURS.length * 1000) % COLOURS.length];

/** When something was: by the wall clock, else the time within the file. */
export function cameraTime(captured, seconds) {
  if (captured) return moment(captured);
  const s = Math.max(0, seconds ?? 0);
  return `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, "0")} into the stream`;
}
