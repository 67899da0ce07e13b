/** Times and numbers as a person reads them. */

const STEPS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
];

/** `850ms`, `4.2s`, `3m 20s`, `2h 5m`. */
export function duration(ms) {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))}ms`;
  if (ms < 9_950) return `${(ms / 1_000).toFixed(1)}s`;
  const rounded = Math.round(ms / 1_000) * 1_000;
  const at = STEPS.findIndex(([, size]) => rounded >= size);
  const [unit, size] = STEPS[at];
  const whole = Math.floor(rounded / size);
  const next = STEPS[at + 1];
  const rest = next ? Math.floor((rounded - whole * size) / next[1]) : 0;
  return rest === 0 ? `${whole}${unit}` : `${whole}${unit} ${rest}${next[0]}`;
}

/** `m:ss` of a countdown, or `h:mm:ss`. */
export function countdown(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1_000));
  const two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(seconds / 3_600);
  const rest = `${two(Math.floor((seconds % 3_600) / 60))}:${two(seconds % 60)}`;
  return hours > 0 ? `${hours}:${rest}` : rest.replace(/^0/, "");
}

/** `now`, `12s ago`, `3h ago`. */
export function ago(at, now = Date.now()) {
  const ms = now - at;
  if (ms < 1_000) return "now";
  const [unit, size] = STEPS.find(([, step]) => ms >= step);
  return `${Math.floor(ms / size)}${unit} ago`;
}

/** `512 MiB`, `1.5 GiB`. */
export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const at = count < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(count) / 10));
  const value = count / 1_024 ** at;
  return `${value >= 10 || at === 0 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}

/** Milliseconds of an RFC 3339 time, or of a number that is already that; `null` stays `null`. */
export function millis(time) {
  if (time === null || time === undefined) return null;
  return typeof time === "number" ? time : Date.parse(time);
}

/** The clock time of day, with the full date as it is read out. */
export function clock(time) {
  return new Date(millis(time)).toLocaleTimeString([], { hour12: false });
}

/** The end of an identifier: enough to tell two of them apart in a table. */
export function shortId(id) {
  return id.length > 16 ? `${id.slice(0, 4)}…${id.slice(-6)}` : id;
}
