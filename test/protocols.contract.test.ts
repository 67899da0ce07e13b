/**
 * The wire contract against its snapshot. A difference is a decision: a field that old readers can do without is
 * an addition, anything else breaks nodes, workers and clients of the version before. Once decided:
 * `UPDATE_CONTRACT=1 npx vitest run test/protocols.contract.test.ts`, and a line in CHANGELOG.md.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { describeContract } from "./support/contract.ts";
import { ROOT } from "./support/source.ts";

const SNAPSHOT = join(ROOT, "test/protocols.contract.txt");

it("the protocols say on the wire what the snapshot says, no more and no less", async () => {
  const text = await describeContract();
  if (process.env["UPDATE_CONTRACT"] === "1") writeFileSync(SNAPSHOT, text);
  expect(existsSync(SNAPSHOT), "UPDATE_CONTRACT=1 writes the snapshot").toBe(true);
  expect(text).toBe(readFileSync(SNAPSHOT, "utf8"));
});

it("the description has every kind of thing in it: a snapshot of nothing is always equal", async () => {
  const text = await describeContract();
  for (const line of [
    /^session\.frame ask writes \{\n {2}worker: string\n/m,
    /^supervisor\.exited tell lane=control/m,
    /^tool worker\.start /m,
    /^subject mail berth\.mail\.<tenant>\.<kind>\.<key>\.<lane>$/m,
    /^ERROR_TABLE \[\n/m,
    /^clientFrameSchema strict \{/m,
    /^STREAMS \[/m,
  ]) {
    expect(text).toMatch(line);
  }
});
