/** The audit trail on a real broker: what it refuses, and what is left of it when entries pass their retention. */
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { auditExportSchema } from "../../protocols/api-operators.ts";
import { type Act, systemActor } from "../../protocols/audit.ts";
import { STREAMS, subjects } from "../../protocols/subjects.ts";
import { auditOf } from "../../runtime/audit.ts";
import { verifyChain } from "../../runtime/audit-chain.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { connectNats, type NatsTransport } from "../../runtime/nats/transport.ts";
import { startBerth } from "../support/berth.ts";
import { eventually } from "../support/eventually.ts";
import { startNats, type TestNats } from "../support/nats.ts";

const RETENTION_MS = 2_000;
const clock = systemClock;
const act = (tenant: string, target: string): Act => ({
  tenant,
  actor: systemActor("test"),
  act: "node.drain",
  target,
  outcome: "allowed",
});

let nats: TestNats;
let transport: NatsTransport;
beforeAll(async () => {
  nats = await startNats();
  transport = await connectNats({
    url: nats.url,
    name: "audit",
    clock,
    logger: silentLogger,
    topology: {
      replicas: 1,
      partitions: 1,
      mailboxCapacity: 10,
      journalRetentionMs: 3_600_000,
      auditRetentionMs: RETENTION_MS,
    },
  });
});
afterAll(async () => {
  await transport.close();
  await nats[Symbol.asyncDispose]();
});

const chainOf = async (tenant: string) =>
  (await transport.audit.read(tenant, 1, 1_000)).map(({ entry }) => entry);

describe("the audit stream", () => {
  it("refuses removal and purging to whoever may write it", async () => {
    const audit = auditOf({ store: transport.audit, clock, random: Math.random });
    await audit.record(act("kept", "a"));
    const jsm = await jetstreamManager(transport.connection);
    const { config, state } = await jsm.streams.info(STREAMS.audit);
    await expect(jsm.streams.deleteMessage(STREAMS.audit, state.last_seq)).rejects.toThrow();
    await expect(jsm.streams.purge(STREAMS.audit)).rejects.toThrow();
    await expect(
      jsm.streams.purge(STREAMS.audit, { filter: subjects.audit("kept") }),
    ).rejects.toThrow();
    // Neither rule can be taken away again.
    for (const weaker of [{ deny_delete: false }, { deny_purge: false }]) {
      await expect(jsm.streams.update(STREAMS.audit, { ...config, ...weaker })).rejects.toThrow();
    }
    expect((await chainOf("kept")).map(({ target }) => target)).toEqual(["a"]);
  });

  it("prunes what has passed its retention, and what is left is whole", async () => {
    const audit = auditOf({ store: transport.audit, clock, random: Math.random });
    expect(await transport.audit.retentionMs()).toBe(RETENTION_MS);
    await eventually(
      async () => {
        await audit.record(act("pruned", "x"));
        const left = await chainOf("pruned");
        return left.length > 1 && left[0]!.seq > 3;
      },
      { within: 20_000, name: "the first entries pass their retention" },
    );
    const chain = await chainOf("pruned");
    const now = clock.now();
    const report = verifyChain(chain, { now, retentionMs: RETENTION_MS });
    expect(report).toMatchObject({ pruned: chain[0]!.seq - 1, fault: undefined });
    // With a longer retention the same beginning would be missing too early.
    const longer = verifyChain(chain, { now, retentionMs: 3_600_000 });
    expect(longer.fault).toMatchObject({ kind: "removed", seq: chain[0]!.seq - 1 });
    const { first, last } = await transport.audit.bounds("pruned");
    expect([first, last]).toEqual([chain[0]!.seq, chain.at(-1)!.seq]);
  });
});

describe("a whole Berth, whose gateway has a credential of its own at the broker", () => {
  it("cancels a suspended tenant's running job, and tells of all of it in a chain that is whole", async () => {
    await using berth = await startBerth();
    const call = async (key: string, method: string, path: string, body?: object) => {
      const answer = await fetch(`${berth.url}${path}`, {
        method,
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
    };
    const { operator, pro } = berth.keys;
    const me = await call(pro, "GET", "/v1/me");
    const tenant = String(me.body["tenant"]);
    const job = await call(pro, "POST", "/v1/jobs", { agent: "shell", prompt: "sleep 600" });
    const path = `/v1/jobs/${String(job.body["id"])}?tenant=${tenant}`;
    const reaches = (state: string) =>
      eventually(async () => (await call(operator, "GET", path)).body["state"] === state, {
        within: 30_000,
        name: `the job is ${state}`,
      });
    await reaches("running");
    expect((await call(pro, "GET", "/v1/nodes")).status).toBe(403);
    const put = { name: "Pro", tier: "pro", suspended: true };
    expect((await call(operator, "PUT", `/v1/tenants/${tenant}`, put)).status).toBe(200);
    await reaches("cancelled");
    const workers = `/v1/workers?tenant=${tenant}`;
    await eventually(
      async () => ((await call(operator, "GET", workers)).body["data"] as unknown[]).length === 0,
      { within: 30_000, name: "its worker is gone" },
    );
    const chain = `/v1/audit/export?tenant=${tenant}`;
    const exported = auditExportSchema.parse((await call(operator, "GET", chain)).body);
    expect(exported.data.map(({ act: name, outcome }) => `${name} ${outcome}`)).toEqual(
      expect.arrayContaining(["api.denied denied", "tenant.suspend allowed"]),
    );
    const { retention_ms: retentionMs } = exported;
    expect(retentionMs).toBe(365 * 86_400_000);
    expect(verifyChain(exported.data, { now: clock.now(), retentionMs }).fault).toBeUndefined();
  });
});
