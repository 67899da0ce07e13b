import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startGatewayRig } from "../support/gateway-rig.ts";
import { ROOT } from "../support/source.ts";

const run = promisify(execFile);

/** Runs an example as its reader does, and gives what it printed. */
async function runExample(name: string, env: Record<string, string> = {}): Promise<string> {
  const { stdout } = await run(
    process.execPath,
    [join(ROOT, "node_modules/tsx/dist/cli.mjs"), join(ROOT, "examples", name, "main.ts")],
    { cwd: ROOT, env: { ...process.env, ...env, NO_COLOR: "1" }, timeout: 50_000 },
  );
  return stdout;
}

describe("examples", () => {
  it("01-counter counts what it was told before it was asked, and ends", async () => {
    expect(await runExample("01-counter")).toBe("{ total: 5 }\n");
  });

  it("03-supervision parks what has spent its quota, and restarts two actors together (R5)", async () => {
    expect(await runExample("03-supervision")).toBe(
      [
        "actor.parked",
        "{ lines: [ 'called bob', 'called carl' ] }",
        "{ times: 1 }",
        "{ times: 1 }",
        "",
      ].join("\n"),
    );
  });

  it("04-testing shows an actor that survives a crash, a pause, a minute and ten bad days", async () => {
    expect((await runExample("04-testing")).split("\n")).toEqual([
      "after a crash: { total: 5 }",
      "after a pause: { total: 1 }",
      "a minute later: { rings: 1 }",
      "10 bad days survived",
      "",
    ]);
  });

  it("02-client prints a job's output and every other event by number, and ends with the job", async () => {
    await using rig = await startGatewayRig();
    const printed = runExample("02-client", { BERTH_URL: rig.url, BERTH_KEY: rig.keys.pro });
    const attempt = await eventually(() => rig.executor.attempts.values().next().value ?? false, {
      name: "the example's job reaches a worker",
    });
    await attempt.start();
    await attempt.print("building\n", "done\n");
    await attempt.succeed();
    expect((await printed).split("\n")).toEqual([
      "#1 job.queued",
      "#2 job.starting",
      "#3 job.started",
      "building",
      "done",
      "#6 job.succeeded",
      "",
    ]);
  });
});
