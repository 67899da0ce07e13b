/** A worker's log as lines that a person reads. Pure. */

/** What every line of one worker's log has, or what stands elsewhere in it. */
const LEFT_OUT = new Set(["level", "time", "msg", "worker", "v"]);
const WARN = 40;
const ERROR = 50;

/** `{ tone: "plain" | "warn" | "bad", time?, text, rest? }` for each line; one that is not JSON stays as it is. */
export function logLines(log) {
  return log
    .split("\n")
    .filter((line) => line !== "")
    .map(parseLine);
}

function parseLine(line) {
  const entry = tryParse(line);
  if (typeof entry?.msg !== "string") return { tone: "plain", text: line };
  const rest = Object.entries(entry)
    .filter(([name]) => !LEFT_OUT.has(name))
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  const tone = entry.level >= ERROR ? "bad" : entry.level >= WARN ? "warn" : "plain";
  return { tone, time: entry.time, text: entry.msg, rest: rest.join(" ") };
}

function tryParse(line) {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
