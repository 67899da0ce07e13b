/** How a node begins to keep accounts; and what one that cannot leaves behind: nothing. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { loadConfig } from "../../../deploy/config.ts";
import { prometheusMetrics } from "../../../deploy/metrics.ts";
import { openWorkerAccess } from "../../../deploy/nats/auth/worker-access.ts";
import type { Base } from "../../../deploy/roles.ts";
import type { WorkerSpec } from "../../../protocols/executor.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import type { NatsTransport } from "../../../runtime/nats/transport.ts";
import { AccountWatch } from "../../../runtime/nats-auth/account-watch.ts";
import { accountOf } from "../../../runtime/nats-auth/credential.ts";
import type { Buckets, Watch } from "../../../runtime/transport.ts";
import { changedBuckets } from "../../support/changed-buckets.ts";
import { eventually } from "../../support/eventually.ts";
import { fillRevocations } from "../../support/full-account.ts";
import { type OperatorRig, operatorRig } from "../../support/operator-rig.ts";

let rig: OperatorRig;
beforeAll(async () => {
  rig = await operatorRig();
});
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
});

/** Names of the connections of the system account. */
async function systemConnections(): Promise<string[]> {
  const nc = await rig.dial(rig.nats.keys.credential("system"), "_INBOX_look");
  const account = rig.nats.keys.get("system").publicKey;
  const subject = `$SYS.REQ.ACCOUNT.${account}.CONNZ`;
  const answer = (await nc.request(subject, "{}", { timeout: 5_000 })).json();
  await nc.close();
  const { data } = answer as { data: { connections: { name?: string }[] } };
  return data.connections.map(({ name }) => name ?? "");
}

const open = (buckets: Partial<Buckets>, { nats, transport } = rig) => {
  const base = {
    config: loadConfig({}),
    clock: systemClock,
    logger: silentLogger,
    metrics: prometheusMetrics(),
    transport: {
      partitions: transport.partitions,
      bus: transport.bus,
      buckets: changedBuckets(transport.buckets, buckets),
    } as NatsTransport,
  } as Base;
  return openWorkerAccess({ base, broker: nats.broker, liveNodes: () => [] });
};

it("closes its connection of the system account with itself", async () => {
  const access = await open({});
  expect(await systemConnections()).toContain("berth-accounts");
  await access.close();
  await eventually(async () => !(await systemConnections()).includes("berth-accounts"), {
    name: "it is gone",
  });
});

it.each([
  ["reads no account", { get: () => Promise.reject(new Error("the broker is away")) }],
  ["cannot follow workers", { watch: () => Promise.reject(new Error("the broker is away")) }],
])("closes it when it %s", async (_, broken) => {
  await expect(open(broken)).rejects.toThrow("the broker is away");
  await eventually(async () => !(await systemConnections()).includes("berth-accounts"), {
    name: "it is gone",
  });
});

it("closes the watch that it has when the other fails", async () => {
  let watches = 0;
  const watch = (bucket: string): Promise<Watch> => {
    if (bucket === "tenants") return Promise.reject(new Error("the broker is away"));
    watches += 1;
    return Promise.resolve({
      close: async () => {
        watches -= 1;
      },
    });
  };
  const { buckets } = rig.transport;
  const opened = AccountWatch.open({
    ...{ keeper: rig.keeper, clock: systemClock, logger: silentLogger, everyMs: 60_000 },
    buckets: changedBuckets(buckets, { watch }),
  });
  await expect(opened).rejects.toThrow("the broker is away");
  expect(watches).toBe(0);
});

it("begins though an account's token is larger than the broker takes, and lets workers in", async () => {
  await using full = await operatorRig();
  const { public_key } = await fillRevocations(full, "shared", { count: 12_000 });
  await expect(full.keeper.revoke("shared", "wrk_gone")).rejects.toMatchObject({
    code: "actor.state_too_large",
  });
  const access = await open({}, full);
  try {
    const spec = { worker: "wrk_new", tenant: "acme", tier: "pro" } as WorkerSpec;
    const { credential } = await access.connection(spec);
    expect(credential && accountOf(credential)).toBe(public_key);
    const nc = credential && (await full.dial(credential, "_INBOX_worker.wrk_new"));
    expect(nc?.isClosed()).toBe(false);
  } finally {
    await access.close();
  }
});
