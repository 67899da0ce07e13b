/** Times and sizes as a person reads them. */

const STEPS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
] as const;

/** A length of time in at most two units: `850ms`, `4.2s`, `3m 20s`, `2h 5m`, `6d 3h`. */
export function humaneDuration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))}ms`;
  if (ms < 9_950) return `${(ms / 1_000).toFixed(1)}s`;
  const rounded = Math.round(ms / 1_000) * 1_000;
  const at = STEPS.findIndex(([, size]) => rounded >= size);
  const [unit, size] = STEPS[at] ?? STEPS[3];
  const whole = Math.floor(rounded / size);
  const next = STEPS[at + 1];
  const rest = next === undefined ? 0 : Math.floor((rounded - whole * size) / next[1]);
  return rest === 0 || next === undefined ? `${whole}${unit}` : `${whole}${unit} ${rest}${next[0]}`;
}

/** How long ago, in one unit: `now`, `12s ago`, `3h ago`. A time ahead of the clock counts as now. */
export function humaneAgo(at: number, now: number): string {
  const ms = now - at;
  if (ms < 1_000) return "now";
  const [unit, size] = STEPS.find(([, step]) => ms >= step) ?? STEPS[3];
  return `${Math.floor(ms / size)}${unit} ago`;
}

/** `512 MiB`, `1.5 GiB`. */
export function humaneBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let at = 0;
  while (value >= 1_024 && at < units.length - 1) {
    value /= 1_024;
    at += 1;
  }
  return `${value >= 10 || at === 0 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}
