/** Less than a minute of chaos on real servers and processes (R1 to R8), and that its judges see what is broken. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import type { ChaosOptions } from "./options.ts";
import { formatRun } from "./report.ts";
import { type Run, runChaos } from "./run.ts";
import { FAULTS, type FaultKind } from "./schedule.ts";

const MAIN = fileURLToPath(new URL("main.ts", import.meta.url));
const MINUTE_MS = 60_000;
/** A seed with every kind of fault but one in three quarters of a minute. */
const ALL_KINDS = 191;
const NEEDED: readonly FaultKind[] = ["kill-server", "kill-node", "pause-node", "cut-node"];
/** For the planted bug: each has a fault or two. */
const SEEDS = [5, 6, 7, 8] as const;

const run = (options: Partial<ChaosOptions>): Promise<Run> =>
  runChaos(
    {
      seed: 1,
      forMs: MINUTE_MS,
      clients: 1,
      only: FAULTS,
      plant: undefined,
      out: undefined,
      ...options,
    },
    { say: () => {}, signal: new AbortController().signal },
  );

describe("chaos", () => {
  test(
    "of three quarters of a minute keeps R1 to R5 and breaks none of R6 to R8",
    async () => {
      const done = await run({ seed: ALL_KINDS, forMs: 0.75 * MINUTE_MS });
      const verdicts = new Map(done.verdicts.map(({ promise, verdict }) => [promise, verdict]));
      const report = formatRun(done);
      for (const promise of ["R1", "R2", "R3", "R4", "R5"] as const)
        expect(verdicts.get(promise), report).toBe("kept");
      // Their bounds of time are judged by a machine that keeps up, alone.
      expect([...verdicts.values()], report).not.toContain("broken");
      const kinds = done.faults.map(({ fault }) => fault.kind);
      expect(kinds, report).toEqual(expect.arrayContaining([...NEEDED]));
    },
    5 * MINUTE_MS,
  );

  test(
    "finds nodes without a fence: the histories of clients are not linearizable (R1)",
    async () => {
      const only = ["cut-node", "pause-node"] as const;
      const said: string[] = [];
      for (const seed of SEEDS) {
        const done = await run({ seed, forMs: MINUTE_MS / 2, only, plant: "no-fence" });
        const r1 = done.verdicts.find(({ promise }) => promise === "R1");
        const flaws = r1?.verdict === "broken" ? r1.flaws : [];
        // One fault may hit no call that matters; the next run has others.
        if (flaws.some((flaw) => flaw.includes("none of these could come"))) return;
        said.push(formatRun(done), ...flaws);
      }
      expect.unreachable(`${SEEDS.length} runs, and no history tells: ${said.join("\n")}`);
    },
    10 * MINUTE_MS,
  );

  test(
    "ended by Ctrl-C leaves no process behind",
    async () => {
      const child = spawn(process.execPath, ["--import", "tsx", MAIN, "--seed", "1"], {
        stdio: "ignore",
      });
      const gone = once(child, "exit");
      try {
        // Three servers with a watcher each, and at least one node.
        await eventually(() => descendants(child.pid!).length > 6, {
          name: "it is under way",
          within: MINUTE_MS,
        });
        const before = descendants(child.pid!);
        child.kill("SIGINT");
        expect((await gone)[0]).toBe(130);
        await eventually(() => before.every((pid) => !isAlive(pid)), { name: "all are gone" });
      } finally {
        child.kill("SIGKILL");
      }
    },
    4 * MINUTE_MS,
  );
});

function descendants(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc").filter((each) => /^\d+$/.test(each))) {
    const parent = parentOf(Number(name));
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const below = (pid: number): number[] =>
    (children.get(pid) ?? []).flatMap((child) => [child, ...below(child)]);
  return below(root);
}

function parentOf(pid: number): number | undefined {
  try {
    return Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
