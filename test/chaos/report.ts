/** What a run prints at its end, and what it leaves as JSON. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { type Run, seconds } from "./run.ts";
import { percentile } from "./statistics.ts";

export function formatRun(run: Run): string {
  return [
    "",
    "operations",
    ...formatTally(run),
    "",
    "faults",
    ...run.faults.map(
      ({ endedMs, fault, startedMs, victim }) =>
        `  ${seconds(startedMs).padStart(8)}  ${fault.kind} ${victim} for ${seconds(endedMs - startedMs)}`,
    ),
    ...Object.entries(run.silences).map(
      ([kind, all]) =>
        `  after ${kind} (${all.length}) every partition answered within ${all.map(seconds).join(", ")}`,
    ),
    "",
    `take-over after SIGKILL: ${formatTakeovers(run)}`,
    `timers of this process were at most ${Math.round(run.pace)} ms late (p99)`,
    "",
    "verdicts",
    ...run.verdicts.flatMap(({ flaws, looked, promise, verdict }) => [
      `  ${promise}  ${verdict}: ${looked}`,
      ...flaws.map((flaw) => `      ${flaw}`),
    ]),
  ].join("\n");
}

function formatTally({ tally }: Run): string[] {
  return Object.entries(tally).map(([kind, counts]) => {
    const { ok = 0, ...others } = counts;
    const refused = Object.entries(others).map(([code, count]) => `${count} ${code}`);
    return `  ${kind.padEnd(14)} ${String(ok).padStart(7)} ok${refused.map((text) => `, ${text}`).join("")}`;
  });
}

function formatTakeovers({ takeovers }: Run): string {
  if (takeovers.length === 0) return "none";
  const all = takeovers.map((ms) => ms ?? Number.POSITIVE_INFINITY);
  const at = (share: number) => seconds(percentile(all, share) ?? 0);
  return `${takeovers.length} partitions, p50 ${at(0.5)}, p99 ${at(0.99)}, max ${at(1)}`;
}

export const isBroken = ({ verdicts }: Run) => verdicts.some(({ verdict }) => verdict === "broken");

export async function writeRun(path: string, run: Run): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `${JSON.stringify(run, null, 2)}\n`);
}
