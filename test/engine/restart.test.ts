/** The engine dies and comes back under a Berth that runs jobs in it. These tests run by themselves: all others need the engine. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { docker } from "../support/docker.ts";
import { follow, spawnDockerBerth } from "../support/docker-berth.ts";
import { type EngineProcess, engineProcess, isEngineOurs } from "../support/engine-process.ts";
import { eventually } from "../support/eventually.ts";

const LINES = 40;
const SCRIPT = `i=0; while [ $i -lt ${LINES} ]; do echo "line $i"; i=$((i+1)); sleep 0.25; done`;
const allLines = Array.from({ length: LINES }, (_, i) => `line ${i}\n`).join("");
const TEST_MS = 180_000;
const JOB_MS = 90_000;

const title = isEngineOurs
  ? "an engine that is killed and comes back"
  : "an engine that is killed and comes back (SKIPPED: the engine was there before the tests)";

describe.skipIf(!isEngineOurs)(title, () => {
  let engine: EngineProcess;
  beforeAll(async () => {
    engine = engineProcess();
    await engine.start();
  });
  afterAll(() => engine.stop());

  test("leaves a running job as it was: its container goes on and so do its events", {
    timeout: TEST_MS,
  }, async () => {
    await using host = await spawnDockerBerth();
    const client = await host.client();
    const { session_id } = await client.submit({ agent: "shell", prompt: SCRIPT });
    await using reader = follow(client, session_id);
    await eventually(() => expect(reader.output()).toContain("line 3"), {
      within: JOB_MS,
      name: "output",
    });
    await engine.kill();
    await engine.start();
    await eventually(() => expect(reader.ends()).toHaveLength(1), {
      within: JOB_MS,
      name: "the end",
    });
    expect(reader.ends()[0]?.type).toBe("job.succeeded");
    expect(reader.output()).toBe(allLines);
    expect(reader.events.map(({ seq }) => seq)).toEqual(reader.events.map((_, i) => i + 1));
    await succeeds(client);
  });

  test("does not tell what died while it was away: the worker is found dead all the same, and replaced", {
    timeout: TEST_MS,
  }, async () => {
    await using host = await spawnDockerBerth();
    const client = await host.client();
    const { session_id } = await client.submit({ agent: "shell", prompt: SCRIPT });
    await using reader = follow(client, session_id);
    await eventually(() => expect(reader.output()).toContain("line 1"), {
      within: JOB_MS,
      name: "output",
    });
    const mine = (await host.workers()).find(({ labels }) => labels["berth.user"] === "dev");
    const { State } = await docker.getContainer(mine!.id).inspect();
    await engine.kill();
    process.kill(State.Pid, "SIGKILL");
    await eventually(() => isGone(State.Pid), { name: "the container's first process is gone" });
    await engine.start();
    await eventually(() => expect(reader.ends()).toHaveLength(1), {
      within: JOB_MS,
      name: "the end",
    });
    expect(reader.ends()[0]?.type).toBe("job.interrupted");
    await succeeds(client);
    expect((await host.workers()).map(({ id }) => id)).not.toContain(mine!.id);
  });
});

async function succeeds(
  client: Awaited<ReturnType<Awaited<ReturnType<typeof spawnDockerBerth>>["client"]>>,
) {
  const types: string[] = [];
  for await (const event of client.run({ agent: "shell", prompt: "echo next" }))
    types.push(event.type);
  expect(types.at(-1)).toBe("job.succeeded");
}

function isGone(pid: number): boolean {
  try {
    return / Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return true;
  }
}
