/** What the README promises when a process dies hard in the middle of a job (R2, R3). */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { BerthClient } from "../../../gateway/client.ts";
import type { SessionEvent } from "../../../protocols/events.ts";
import { type BerthProcess, spawnBerth } from "../../support/berth-process.ts";
import { eventually } from "../../support/eventually.ts";

const LINES = 40;
/** Prints numbered lines for about four seconds. */
const SCRIPT = `i=0; while [ $i -lt ${LINES} ]; do echo "line $i"; i=$((i+1)); sleep 0.1; done`;
const TERMINAL = /^job\.(succeeded|failed|cancelled|timed_out|interrupted)$/;

async function clientOf(berth: BerthProcess): Promise<BerthClient> {
  const { url, keys } = await berth.dev();
  return new BerthClient({ url, key: keys.pro, patienceMs: 60_000 });
}

/** Follows a session from its start in the background, coming back after every disconnect. */
function follow(client: BerthClient, session: string) {
  const events: SessionEvent[] = [];
  const stop = new AbortController();
  const reading = (async () => {
    for await (const event of client.sessionEvents(session, { after: 0, signal: stop.signal }))
      events.push(event);
  })().catch(() => undefined);
  return {
    events,
    output: () =>
      events
        .filter(({ type }) => type === "agent.output")
        .map(({ data }) => String(data["text"]))
        .join(""),
    ends: () =>
      events.filter(({ type, data }) => TERMINAL.test(type) && data["will_retry"] !== true),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await reading;
    },
  };
}

function expectNoGap(events: readonly SessionEvent[]): void {
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1));
}

const allLines = Array.from({ length: LINES }, (_, i) => `line ${i}\n`).join("");

function processesOf(pattern: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").includes(pattern);
      } catch {
        return false;
      }
    })
    .map(Number);
}

describe("SIGKILL in the middle of a job", { timeout: 120_000 }, () => {
  test("of nats-server: it is started again and the job ends as if nothing had been", async () => {
    await using berth = await spawnBerth();
    const client = await clientOf(berth);
    const { session_id } = await client.submit({ agent: "shell", prompt: SCRIPT });
    await using reader = follow(client, session_id);
    await eventually(() => expect(reader.output()).toContain("line 3"), {
      within: 20_000,
      name: "output",
    });

    const [server] = processesOf(`${berth.dataDir}/nats.conf`);
    expect(server).toBeDefined();
    process.kill(server!, "SIGKILL");

    await eventually(() => expect(reader.ends()).toHaveLength(1), {
      within: 60_000,
      name: "the end",
    });
    expect(reader.ends()[0]?.type).toBe("job.succeeded");
    expect(reader.output()).toBe(allLines);
    expectNoGap(reader.events);
  });

  test("of node, gateway and nats-server at once: the worker goes on and the log has no gap", async () => {
    await using berth = await spawnBerth();
    const client = await clientOf(berth);
    const { session_id } = await client.submit({ agent: "shell", prompt: SCRIPT });
    await using reader = follow(client, session_id);
    await eventually(() => expect(reader.output()).toContain("line 3"), {
      within: 20_000,
      name: "output",
    });

    await berth.kill();
    await eventually(() => expect(processesOf(`${berth.dataDir}/nats.conf`)).toEqual([]), {
      within: 10_000,
      name: "no nats-server is left behind",
    });
    await berth.start();

    await eventually(() => expect(reader.ends()).toHaveLength(1), {
      within: 60_000,
      name: "the end",
    });
    expect(reader.ends()[0]?.type).toBe("job.succeeded");
    expect(reader.output()).toBe(allLines);
    expectNoGap(reader.events);
  });

  test("of the executor: the job is interrupted once, its processes are gone, the next job runs", async () => {
    await using berth = await spawnBerth();
    const client = await clientOf(berth);
    const marker = `sleep 61.${process.pid}`;
    const { id, session_id } = await client.submit({
      agent: "shell",
      prompt: `${marker} & echo up; ${marker}`,
    });
    await using reader = follow(client, session_id);
    await eventually(() => expect(reader.output()).toContain("up"), {
      within: 20_000,
      name: "output",
    });

    const { worker } = await client.job(id);
    expect(worker).not.toBeNull();
    const started = reader.events.find(({ type }) => type === "job.started");
    expect(started).toBeDefined();
    for (const pid of workerPids(berth, String(worker))) process.kill(pid, "SIGKILL");

    await eventually(() => expect(reader.ends()).toHaveLength(1), {
      within: 30_000,
      name: "the end",
    });
    expect(reader.ends()[0]?.type).toBe("job.interrupted");
    await eventually(() => expect(processesOf(marker)).toEqual([]), {
      within: 10_000,
      name: "nothing is left",
    });
    expectNoGap(reader.events);

    const types: string[] = [];
    for await (const event of client.run({ agent: "shell", prompt: "echo next" }))
      types.push(event.type);
    expect(types.at(-1)).toBe("job.succeeded");
  });

  test("of everything with jobs waiting: each accepted job ends exactly once", async () => {
    await using berth = await spawnBerth();
    const client = await clientOf(berth);
    const jobs = await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        client.submit({ agent: "shell", prompt: `echo job ${i}; sleep 0.5` }),
      ),
    );
    await berth.kill();
    await berth.start();
    for (const { id, session_id } of jobs) {
      const reader = follow(client, session_id);
      await eventually(() => expect(reader.ends()).toHaveLength(1), {
        within: 60_000,
        name: `the end of ${id}`,
      });
      expectNoGap(reader.events);
      await reader[Symbol.asyncDispose]();
    }
  });
});

/** Executors carry their worker's id in their environment. */
function workerPids(berth: BerthProcess, worker: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
        const env = readFileSync(`/proc/${pid}/environ`, "utf8");
        return (
          command.includes("executor") &&
          env.includes(`BERTH_WORKER=${worker}`) &&
          env.includes(berth.dataDir)
        );
      } catch {
        return false;
      }
    });
}
