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
import { FAULTS } from "./schedule.ts";

const MAIN = fileURLToPath(new URL("main.ts", import.meta.url));
const MINUTE_MS = 60_000;

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
    "of three quarters of a minute breaks no promise (R1 to R8)",
    async () => {
      const done = await run({ seed: 4, forMs: 0.75 * MINUTE_MS });
      const broken = done.verdicts.filter(({ verdict }) => verdict === "broken");
      expect(broken, formatRun(done)).toEqual([]);
      expect(done.faults.length).toBeGreaterThan(3);
    },
    5 * MINUTE_MS,
  );

  test(
    "finds nodes without a fence: the histories of clients are not linearizable (R1)",
    async () => {
      const only = ["cut-node", "pause-node"] as const;
      const said: string[] = [];
      for (const seed of [5, 6, 7]) {
        const done = await run({ seed, forMs: MINUTE_MS / 2, only, plant: "no-fence" });
        const r1 = done.verdicts.find(({ promise }) => promise === "R1");
        expect(r1?.verdict).toBe("broken");
        said.push(...(r1?.flaws ?? []));
        if (said.some((flaw) => flaw.includes("none of these could come"))) return;
      }
      expect.unreachable(`three runs, and no history tells: ${said.join("\n")}`);
    },
    8 * MINUTE_MS,
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
