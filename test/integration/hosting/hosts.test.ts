/** Workers outlive the node that hosts them: what becomes of their jobs when it comes back, and when it does not; and of what nobody wants. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, utimes } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@nats-io/transport-node";
import { pack, unpack } from "msgpackr";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { serversOf } from "../../../executor/link.ts";
import { BerthClient } from "../../../gateway/client.ts";
import type { ApiNode } from "../../../protocols/api-operators.ts";
import type { SessionEvent } from "../../../protocols/events.ts";
import { subjects } from "../../../protocols/subjects.ts";
import { startCommand } from "../../support/berth-command.ts";
import { eventually } from "../../support/eventually.ts";
import { type RoleProcess, type RoleProcesses, roleProcesses } from "../../support/role-process.ts";

const LEASE = "2s";
const SWEEP = "1s";
const ORPHAN_S = 3;
/** Of the orphan time, the time to kill, and ten seconds for beats and farewell. */
const GRACE_MS = ORPHAN_S * 1_000 + 1_000 + 10_000;
const HOUR_MS = 3_600_000;
const NAMES = ["one", "two"] as const;
type Name = (typeof NAMES)[number];

let processes: RoleProcesses;
let nodes: Record<Name, RoleProcess>;
let client: BerthClient;
let operator: (method: string, path: string, body?: object) => Promise<unknown>;

beforeAll(async () => {
  processes = await roleProcesses({
    BERTH_LEASE_TTL: LEASE,
    BERTH_SWEEP_EVERY: SWEEP,
    BERTH_ORPHAN_AFTER: `${ORPHAN_S}s`,
    BERTH_KILL_GRACE: "1s",
  });
  nodes = {
    one: await processes.start("node", "one"),
    two: await processes.start("node", "two"),
  };
  const gateway = await processes.start("gateway", "gw");
  await using made = startCommand(["operator-key", "--nats", processes.nats.url]);
  expect(await made.done(), made.err()).toBe(0);
  const authorization = `Bearer ${made.out().trim()}`;
  operator = async (method, path, body) => {
    const answer = await fetch(`${gateway.url}${path}`, {
      method,
      headers: { authorization, "content-type": "application/json" },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return await answer.json();
  };
  await operator("PUT", "/v1/tenants/acme", { name: "Acme", tier: "pro" });
  const user = (await eventually(
    () => operator("POST", "/v1/tenants/acme/keys", { name: "ann", user: "ann" }),
    { name: "the tenant is known" },
  )) as { key: string };
  client = new BerthClient({ url: gateway.url, key: user.key, patienceMs: 60_000 });
}, 120_000);
afterAll(() => processes[Symbol.asyncDispose]());

const liveNodes = async () =>
  ((await operator("GET", "/v1/nodes")) as { data: ApiNode[] }).data.map(({ id }) => id);

const hostOf = async (worker: string | null): Promise<Name> => {
  const { data } = (await operator("GET", "/v1/workers")) as {
    data: { id: string; host: Name }[];
  };
  return data.find(({ id }) => id === worker)?.host ?? "one";
};

/** Runs a job that prints a line each 0.2 s, and follows it in the background. */
const startLines = (count: number) =>
  startShell(`for i in $(seq 1 ${count}); do echo line $i; sleep 0.2; done`);

async function startShell(prompt: string) {
  const job = await client.submit({ agent: "shell", prompt });
  const events: SessionEvent[] = [];
  const reading = (async () => {
    for await (const event of client.jobEvents(job.id)) events.push(event);
  })();
  const said = () =>
    events
      .filter(({ type }) => type === "agent.output")
      .map(({ data }) => String(data["text"]))
      .join("");
  const lines = () => said().split("\n").length - 1;
  await eventually(() => lines() > 0, { within: 30_000, name: "the job prints" });
  const { worker } = await client.job(job.id);
  return { job, events, reading, said, lines, worker, host: await hostOf(worker) };
}

/** SIGKILL; resolves when the others have noticed. */
async function kill(name: Name): Promise<void> {
  nodes[name].signal("SIGKILL");
  await eventually(async () => !(await liveNodes()).includes(name), {
    within: 15_000,
    name: `${name} has no lease`,
  });
}

/** Executor and agents, which carry their worker's id. */
function pidsOf(worker: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "utf8").includes(worker);
      } catch {
        return false;
      }
    })
    .map(Number);
}

describe("a node that is killed under a running job", () => {
  test("takes nothing from the job when it is back after its lease and some sweeps: one end, no gap", async () => {
    const { host, events, reading, said, lines } = await startLines(80);
    await kill(host);
    const before = lines();
    // Each sweep asks for the workers of a node that is not there.
    await eventually(() => lines() > before + 25, {
      within: 30_000,
      name: "five sweeps have been",
    });
    nodes[host] = await processes.start("node", host);
    await reading;
    expect(said()).toBe(Array.from({ length: 80 }, (_, n) => `line ${n + 1}\n`).join(""));
    expect(events.map(({ type }) => type).filter((type) => type !== "agent.output")).toEqual([
      "job.queued",
      "job.starting",
      "job.started",
      "job.succeeded",
    ]);
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, n) => n + 1));
    // The node has adopted its worker: the next job gets it, warm.
    await eventually(async () => (await liveNodes()).length === 2, {
      name: "both nodes are there",
    });
    const next = await startLines(1);
    await next.reading;
    expect(next.events.at(-1)?.type).toBe("job.succeeded");
    expect(next.host).toBe(host);
  }, 120_000);

  test("takes nothing from one that says nothing for longer than a worker lasts alone: others ask for it", async () => {
    const { host, events, reading, said } = await startShell(
      `echo in; sleep ${4 * ORPHAN_S}; echo out`,
    );
    await kill(host);
    await reading;
    expect(said()).toBe("in\nout\n");
    expect(events.at(-1)).toMatchObject({ type: "job.succeeded" });
    nodes[host] = await processes.start("node", host);
    await eventually(async () => (await liveNodes()).length === 2, {
      name: "both nodes are there",
    });
  }, 120_000);

  test("and never comes back, with its worker dead, too: the job is interrupted after the grace, the next runs elsewhere", async () => {
    const { job, host, events, reading, worker } = await startLines(10_000);
    await kill(host);
    const killedAt = performance.now();
    // What the job's shell runs comes and goes: one may have ended by itself since it was seen.
    await eventually(
      () => {
        for (const pid of pidsOf(worker ?? "")) process.kill(pid, "SIGKILL");
        return true;
      },
      { name: "none of the worker's processes is left" },
    );
    await reading;
    expect(performance.now() - killedAt).toBeGreaterThan(GRACE_MS - 1_000);
    expect(events.at(-1)).toMatchObject({
      type: "job.interrupted",
      data: { code: "worker.lost", will_retry: false },
    });
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, n) => n + 1));
    await eventually(
      async () =>
        expect(await client.job(job.id)).toMatchObject({
          state: "interrupted",
          error: { code: "job.executor_lost" },
        }),
      { name: "the job's record says so" },
    );
    const next = await startLines(1);
    await next.reading;
    expect(next.events.at(-1)?.type).toBe("job.succeeded");
    expect(next.host).toBe(host === "one" ? "two" : "one");
    expect(next.worker).not.toBe(worker);
  }, 120_000);
});

describe("a host", () => {
  test("ends a worker that nobody owns, and removes workspaces past their life, but none on doubt", async () => {
    await operator("PUT", "/v1/tenants/big", { name: "Big", tier: "enterprise" });
    const name = (await liveNodes())[0] as Name;
    const workspace = async (tenant: string, key: string, ageMs: number) => {
      const path = join(processes.dataDir(name), "workspaces", tenant, key);
      await mkdir(join(path, "work"), { recursive: true });
      const usedAt = new Date(Date.now() - ageMs);
      await utimes(path, usedAt, usedAt);
      return path;
    };
    const kept = [
      await workspace("acme", "u-young", 23 * HOUR_MS),
      await workspace("big", "a-shell", 10_000 * HOUR_MS),
      await workspace("unknown", "u-ann", 6 * 24 * HOUR_MS),
    ];
    const past = [
      await workspace("acme", "u-old", 25 * HOUR_MS),
      await workspace("unknown", "u-bob", 8 * 24 * HOUR_MS),
    ];
    const nats = await connect(serversOf(processes.nats.url));
    const worker = `wrk_orphan_${process.pid}`;
    const spec = {
      ...{ worker, tenant: "acme", tier: "pro", slots: 1 },
      ...{ workspace: "job", workspace_key: worker, cpus: 1, memory_bytes: 1, storage_bytes: 1 },
    };
    const request = { timeout: 30_000 };
    const answer = await nats.request(subjects.driver(name, "start"), pack({ spec }), request);
    await nats.close();
    // It may be found to be nobody's before its first word is heard: then the start says that it was stopped.
    const told = unpack(answer.data) as { readonly ok: boolean; readonly error?: unknown };
    if (!told.ok) expect(told.error).toMatchObject({ message: "The worker was stopped" });
    await eventually(() => expect(pidsOf(worker)).toEqual([]), {
      within: 20_000,
      name: "the orphan has ended",
    });
    await eventually(() => expect(past.filter((path) => existsSync(path))).toEqual([]), {
      within: 20_000,
      name: "what is past its life is gone",
    });
    expect(kept.filter((path) => !existsSync(path))).toEqual([]);
  }, 120_000);
});
