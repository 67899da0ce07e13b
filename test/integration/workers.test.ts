/** Workers of real nodes, each a process of its own, as a gateway and `/metrics` show them. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findByEnvironment } from "../../executor/process-table.ts";
import { markerOf } from "../../executor/process-tree.ts";
import { BerthClient } from "../../gateway/client.ts";
import type { ApiWorker, WholeWorker, WorkerPage } from "../../protocols/api-operators.ts";
import { startCommand } from "../support/berth-command.ts";
import { eventually } from "../support/eventually.ts";
import { valuesIn } from "../support/metrics-text.ts";
import { type RoleProcess, type RoleProcesses, roleProcesses } from "../support/role-process.ts";

type NodeName = "one" | "two";

let processes: RoleProcesses;
let nodes: Record<NodeName, RoleProcess>;
let gateway: RoleProcess;
let operator = "";
let client: BerthClient;

beforeAll(async () => {
  // A node that stands still for a moment is silent, and not yet dead.
  processes = await roleProcesses({ BERTH_LEASE_TTL: "60s" });
  nodes = {
    one: await processes.start("node", "one"),
    two: await processes.start("node", "two"),
  };
  gateway = await processes.start("gateway", "gw");
  await using made = startCommand(["operator-key", "--nats", processes.nats.url]);
  expect(await made.done(), made.err()).toBe(0);
  operator = made.out().trim();
  await call("PUT", "/v1/tenants/acme", { name: "Acme", tier: "pro" });
  const { key } = await eventually(
    () => call<{ key: string }>("POST", "/v1/tenants/acme/keys", { name: "ann", user: "ann" }),
    { name: "the tenant is known" },
  );
  client = new BerthClient({ url: gateway.url, key });
});
afterAll(() => processes[Symbol.asyncDispose]());

async function call<T>(method: string, path: string, body?: object): Promise<T> {
  const answer = await fetch(`${gateway.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${operator}`, "content-type": "application/json" },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return JSON.parse(text) as T;
}

const list = () => call<WorkerPage>("GET", "/v1/workers");
const metric = async (node: NodeName, name: string) =>
  Object.fromEntries(valuesIn(await (await fetch(`${nodes[node].url}/metrics`)).text(), name));

/** The worker on which a job of ann's burns CPU now. */
async function busyWorker(): Promise<ApiWorker & { readonly host: NodeName }> {
  const job = await client.submit({ agent: "shell", prompt: "while :; do :; done" });
  const busy = await eventually(
    async () => {
      const { state, worker } = await client.job(job.id);
      return state === "running" && worker !== null && worker;
    },
    { within: 30_000, name: "the job runs" },
  );
  const found = (await list()).data.find(({ id }) => id === busy);
  return found as ApiWorker & { readonly host: NodeName };
}

describe("the workers of two nodes", () => {
  test("show their use, which a silent host takes with it until it is back", async () => {
    const { id, host } = await busyWorker();
    const own = async () => await call<WholeWorker>("GET", `/v1/workers/${id}`);
    await eventually(async () => ((await own()).cpus_used ?? 0) > 0.2, {
      within: 20_000,
      name: "its CPU shows",
    });
    expect(await own()).toMatchObject({ driver: "process", host, unanswered: [], step: null });
    nodes[host].signal("SIGSTOP");
    try {
      const silent = await eventually(
        async () => {
          const page = await list();
          return page.unanswered.length > 0 && page;
        },
        { within: 20_000, name: "its host is missed" },
      );
      expect(silent.unanswered).toEqual([host]);
      expect(silent.data.find((worker) => worker.id === id)).toMatchObject({
        host,
        tenant: "acme",
        cpus_used: null,
        memory_bytes: null,
        processes: null,
      });
      await expect(call("GET", `/v1/workers/${id}/log`)).rejects.toThrow(/504 .*ask\.timeout/);
    } finally {
      nodes[host].signal("SIGCONT");
    }
    await eventually(async () => (await own()).memory_bytes !== null, {
      within: 20_000,
      name: "its host is back",
    });
    expect(await call("GET", `/v1/workers/${id}/log`)).toMatchObject({
      node: host,
      log: expect.stringContaining(id),
    });
  }, 120_000);

  test("are counted by tier where they start, work and end: never one by one", async () => {
    const { id, host } = await busyWorker();
    const pro = '{tier="pro"}';
    const started = await metric(host, "berth_worker_starts_total");
    expect(started).toMatchObject({ '{tier="pro",kind="cold",outcome="started"}': 1 });
    expect(await metric(host, "berth_worker_start_seconds_count")).toMatchObject({
      '{tier="pro",kind="cold"}': 1,
    });
    await eventually(
      async () => {
        expect((await metric(host, "berth_worker_memory_bytes"))[pro]).toBeGreaterThan(10_000_000);
        expect((await metric(host, "berth_worker_cpu_seconds_total"))[pro]).toBeGreaterThan(0.5);
      },
      { within: 30_000, name: "its use is in the gauges" },
    );
    expect(await metric(host, "berth_workers_dormant")).toMatchObject({ [pro]: 0 });
    const pid = findByEnvironment(markerOf(id));
    expect(pid).toBeGreaterThan(1);
    process.kill(pid as number, "SIGKILL");
    await eventually(
      async () => {
        const ended = await metric(host, "berth_worker_exits_total");
        expect(ended).toEqual({ '{tier="pro",code="worker.lost"}': 1 });
      },
      { within: 20_000, name: "its end is counted" },
    );
    const text = await (await fetch(`${nodes[host].url}/metrics`)).text();
    expect(text).not.toContain(id);
    expect(text).not.toContain("acme");
  }, 120_000);
});
