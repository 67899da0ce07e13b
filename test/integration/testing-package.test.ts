/** The test kit as its users have it: built, imported by the package's name, in plain JavaScript. */
import { execFile } from "node:child_process";
import { copyFile, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { ROOT } from "../support/source.ts";

const run = promisify(execFile);

const PROGRAM = `
  import { z } from "zod";
  import * as berth from "berth";
  import { checkLinearizable, counterModel, noFaults, recordHistory, startTestCluster } from "berth/testing";
  const Counter = berth.protocol("counter", { add: berth.ask({ n: z.number() }, { sum: z.number() }) });
  const counter = berth.actor(Counter, {
    state: z.object({ sum: z.number().default(0) }),
    handlers: { add: (ctx, { n }) => ({ sum: (ctx.state.sum += n) }) },
  });
  const cluster = await startTestCluster({ definitions: [counter], nodes: 2, faults: noFaults });
  const history = recordHistory(berth.systemClock);
  const add = (client) => history.run({ client, key: "a", op: "add", input: 1 }, async () =>
    (await cluster.client.actor(Counter, "acme", "a").add({ n: 1 })).sum);
  await Promise.all(["c1", "c2", "c3"].map(add));
  console.log(checkLinearizable(counterModel, history.operations).verdict, history.operations.length);
  await cluster[Symbol.asyncDispose]();
`;

/** A package of its own: others use `dist` meanwhile. */
async function packageIn(folder: string): Promise<void> {
  await copyFile(join(ROOT, "package.json"), join(folder, "package.json"));
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  const compiler = join(ROOT, "node_modules/typescript/bin/tsc");
  const build = ["-p", "tsconfig.build.json", "--outDir", join(folder, "dist")];
  await run(process.execPath, [compiler, ...build], { cwd: ROOT, timeout: 100_000 });
}

it("berth/testing runs a cluster and judges a history from plain JavaScript, and lets the program end", async () => {
  const folder = await mkdtemp(join(tmpdir(), "berth-testing-"));
  try {
    await packageIn(folder);
    const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", PROGRAM], {
      cwd: folder,
      timeout: 30_000,
    });
    expect(stdout).toBe("ok 3\n");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, 120_000);
