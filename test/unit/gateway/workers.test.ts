/** Workers through the gateway: their records, what hosts tell of them, their logs, and who sees what. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decideLog } from "../../../gateway/worker-logs.ts";
import type { ApiWorker, WholeWorker, WorkerPage } from "../../../protocols/api-operators.ts";
import { BerthError } from "../../../protocols/errors.ts";
import type { HostWorkers, WorkerRecord, WorkerUse } from "../../../protocols/executor.ts";
import type { NodeRecord } from "../../../protocols/records.ts";
import { subjects } from "../../../protocols/subjects.ts";
import { type GatewayRig, startGatewayRig } from "../../support/gateway-rig.ts";

let rig: GatewayRig;
const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

/** What the host "rig" tells; a test changes it. */
const told: { at: number; asked: number } & Pick<HostWorkers, "use" | "steps" | "dormant"> = {
  at: 1_000,
  asked: 0,
  use: {},
  steps: {},
  dormant: {},
};
const logs = new Map<string, string>();
const used = (cpu_ms: number, extra: Partial<WorkerUse> = {}): WorkerUse => ({
  image: "berth:1",
  cpu_ms,
  memory_bytes: 300,
  memory_limit_bytes: 1_000,
  processes: 4,
  ...extra,
});

const record = (id: string, change: Partial<WorkerRecord> & { tenant?: string } = {}) => {
  const { tenant = "t-pro", ...rest } = change;
  const value: WorkerRecord = {
    id,
    spec: {
      worker: id,
      tenant,
      user: "u1",
      tier: "pro",
      slots: 3,
      workspace: "user",
      workspace_key: "u-u1",
      cpus: 2,
      memory_bytes: 2_000,
      storage_bytes: 3_000,
      processes: 64,
      network: "user",
      internet: true,
    },
    host: "rig",
    driver: "fake",
    phase: "idle",
    created_at: 1,
    ready_at: 2,
    idle_since: 3,
    idle_deadline: 4,
    jobs: [],
    ...rest,
  };
  return rig.transport.buckets.put("workers", id, encode(value));
};

beforeAll(async () => {
  rig = await startGatewayRig({ tiers: { free: { minWorkers: 1, maxWorkers: 1 } } });
  const { bus } = rig.transport;
  const servings = [
    // Over NATS the node's micro service answers these.
    bus.serve(subjects.node("rig", "workers"), undefined, (request) => {
      told.asked += 1;
      const { at, use, steps, dormant } = told;
      request.reply(encode({ node: "rig", driver: "fake", at, use, steps, dormant }));
    }),
    bus.serve(subjects.node("rig", "worker-log"), undefined, (request) => {
      const log = logs.get(new TextDecoder().decode(request.data));
      request.reply(
        encode(log === undefined ? { code: "worker.not_found", message: "none" } : { log }),
      );
    }),
  ];
  await Promise.all(servings.map(({ ready }) => ready));
});
afterAll(() => rig[Symbol.asyncDispose]());

const get = (path: string, key = rig.keys.operator) => rig.api("GET", path, { key });
async function read<T>(path: string, key?: string): Promise<T> {
  const answer = await get(path, key);
  expect([path, answer.status]).toEqual([path, 200]);
  return (await answer.json()) as T;
}
async function worker(id: string): Promise<ApiWorker | undefined> {
  return (await read<WorkerPage>("/v1/workers")).data.find((each) => each.id === id);
}

describe("the list of workers", () => {
  it("says of each what its host measures, and its CPU once there are two readings", async () => {
    await record("wrk-a");
    told.use = { "wrk-a": used(500) };
    expect(await worker("wrk-a")).toMatchObject({
      phase: "idle",
      image: "berth:1",
      cpus_used: null,
      cpus_limit: 2,
      memory_bytes: 300,
      memory_limit_bytes: 1_000,
      processes: 4,
    });
    told.at += 2_000;
    told.use = { "wrk-a": used(3_500) };
    await expect.poll(async () => (await worker("wrk-a"))?.cpus_used).toBe(1.5);
  });

  it("asks a host once for all who look at the same time", async () => {
    const before = told.asked;
    await Promise.all(Array.from({ length: 20 }, () => read("/v1/workers")));
    expect(told.asked - before).toBeLessThanOrEqual(1);
  });

  it("names a host that does not answer, and leaves null what it would know", async () => {
    await record("wrk-far", { host: "gone" });
    const page = await read<WorkerPage>("/v1/workers");
    expect(page.unanswered).toEqual(["gone"]);
    const far = page.data.find(({ id }) => id === "wrk-far");
    expect(far).toMatchObject({ host: "gone", image: null, cpus_used: null, memory_bytes: null });
    expect(page.data.find(({ id }) => id === "wrk-a")).toMatchObject({ image: "berth:1" });
    await rig.transport.buckets.remove("workers", "wrk-far");
  });

  it("shows the step of a worker that starts, on whichever host, and dormant ones by tier", async () => {
    await record("wrk-new", { host: null, driver: null, phase: "starting", ready_at: null });
    await record("wrk-hoped", { host: null, driver: null, phase: "wanted", ready_at: null });
    told.steps = { "wrk-new": "creating" };
    told.dormant = { free: 1, pro: 2 };
    await expect.poll(async () => (await worker("wrk-new"))?.step).toBe("creating");
    expect(await worker("wrk-hoped")).toMatchObject({ phase: "wanted", step: null });
    expect((await read<WorkerPage>("/v1/workers")).dormant).toEqual({ free: 1, pro: 2 });
  });

  it("shows an admin its own tenant's, and nobody's dormant ones", async () => {
    await record("wrk-ent", { tenant: "t-ent" });
    const own = await read<WorkerPage>("/v1/workers", rig.keys.admin);
    expect(own.data.map(({ id }) => id)).toEqual(["wrk-new", "wrk-hoped", "wrk-a"]);
    expect(own.data.at(-1)).toMatchObject({ image: "berth:1" });
    expect(own.dormant).toBeNull();
    expect((await get("/v1/workers?tenant=t-ent", rig.keys.admin)).status).toBe(403);
    expect((await get("/v1/workers", rig.keys.pro)).status).toBe(403);
    expect((await get("/v1/workers?color=red")).status).toBe(422);
  });
});

describe("one worker", () => {
  it("is shown with what it was asked for; that of another tenant does not exist", async () => {
    expect(await read<WholeWorker>("/v1/workers/wrk-a")).toMatchObject({
      id: "wrk-a",
      image: "berth:1",
      workspace: "user",
      network: "user",
      internet: true,
      storage_limit_bytes: 3_000,
      processes_limit: 64,
      unanswered: [],
    });
    expect(await read<WholeWorker>("/v1/workers/wrk-a", rig.keys.admin)).toMatchObject({
      tenant: "t-pro",
    });
    for (const [path, key] of [
      ["/v1/workers/wrk-ent", rig.keys.admin],
      ["/v1/workers/wrk-none", rig.keys.operator],
      ["/v1/workers/wrk-ent/log", rig.keys.admin],
    ] as const) {
      const answer = await get(path, key);
      expect([path, answer.status]).toEqual([path, 404]);
      expect(await answer.json()).toMatchObject({ code: "worker.not_found" });
    }
    expect((await get("/v1/workers/wrk-a", rig.keys.pro)).status).toBe(403);
    expect((await get("/v1/workers/a..b")).status).toBe(422);
  });

  it("of the shared pool is the platform's: no tenant's admin reads it", async () => {
    await record("wrk-pool", { tenant: "berth-platform" });
    logs.set("wrk-pool", "of many tenants");
    await rig.addKey("free-admin", { tenant: "t-free", scope: "tenant_admin" });
    for (const path of ["/v1/workers/wrk-pool", "/v1/workers/wrk-pool/log"]) {
      expect((await get(path, "free-admin")).status).toBe(404);
      expect((await get(path)).status).toBe(200);
    }
  });
});

describe("a worker's log", () => {
  it("is its host's, for operators and for the admin of its tenant", async () => {
    logs.set("wrk-a", "line one\nline two\n");
    const whole = { id: "wrk-a", node: "rig", log: "line one\nline two\n" };
    expect(await read("/v1/workers/wrk-a/log")).toEqual(whole);
    expect(await read("/v1/workers/wrk-a/log", rig.keys.admin)).toEqual(whole);
    expect((await get("/v1/workers/wrk-a/log", rig.keys.pro)).status).toBe(403);
  });

  it("of one that has ended is found on the host that kept it, by operators alone", async () => {
    logs.set("wrk-dead", "out of memory\n");
    expect(await read("/v1/workers/wrk-dead/log")).toMatchObject({ log: "out of memory\n" });
    expect((await get("/v1/workers/wrk-dead/log", rig.keys.admin)).status).toBe(404);
    expect((await get("/v1/workers/wrk-unheard/log")).status).toBe(404);
  });

  it("that a silent host may have is not said to be missing", async () => {
    const mute: NodeRecord = {
      id: "mute",
      incarnation: "x",
      version: "0",
      started_at: 1,
      draining: false,
      drivers: [{ name: "fake", max_workers: 1 }],
      kinds: [],
    };
    await rig.transport.buckets.put("nodes", "mute", encode(mute));
    const answer = await get("/v1/workers/wrk-unheard/log");
    expect([answer.status, await answer.json()]).toMatchObject([504, { code: "ask.timeout" }]);
    expect(await read("/v1/workers/wrk-dead/log")).toMatchObject({ node: "rig" });
    await rig.transport.buckets.remove("nodes", "mute");
  });

  it("on two hosts, for its start was tried twice, is the one that holds more", () => {
    const none = { error: new BerthError("worker.not_found") };
    const failed = { error: new BerthError("driver.failed") };
    const [short, long] = [
      { node: "n1", log: "" },
      { node: "n2", log: "said" },
    ];
    expect(decideLog([failed, short, none, long])).toEqual(long);
    expect(() => decideLog([none, failed])).toThrow(failed.error);
    expect(() => decideLog([])).toThrow("no host knows");
  });
});
