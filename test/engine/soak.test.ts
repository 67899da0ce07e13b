/** A short soak (`npm run soak` is the long one): containers, nodes and, where it is ours, the engine are killed under load. */
import { expect, test } from "vitest";
import { soak } from "../soak/run.ts";
import { describeDocker } from "../support/docker.ts";

const FOR_MS = 45_000;
/** The load, and the longest waits for the last job and for what idle users leave. */
const TEST_MS = 500_000;

describeDocker("a soak with random kills", () => {
  test("loses no job, doubles none, and leaves nothing behind", { timeout: TEST_MS }, async ({
    signal,
  }) => {
    const said: string[] = [];
    const report = await soak({ seed: 7, forMs: FOR_MS, say: (line) => said.push(line), signal });
    expect(report.broken, said.join("\n")).toEqual([]);
    expect(report.accepted).toBeGreaterThan(20);
    const faults = Object.values(report.faults).reduce((sum, count) => sum + count, 0);
    expect(faults, said.join("\n")).toBeGreaterThan(2);
  });
});
