/** What a keeper of accounts does when something is too much, broken or away, on a real nats-server. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { accountRecordSchema } from "../../../protocols/accounts.ts";
import { BerthError } from "../../../protocols/errors.ts";
import type { WorkerRecord } from "../../../protocols/executor.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import type { ClaimsServer } from "../../../runtime/nats-auth/account-publisher.ts";
import { MOST_REVOCATIONS } from "../../../runtime/nats-auth/account-record.ts";
import { AccountWatch } from "../../../runtime/nats-auth/account-watch.ts";
import { readClaims } from "../../../runtime/nats-auth/jwt.ts";
import type { Buckets } from "../../../runtime/transport.ts";
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

const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const put = (account: string, value: Uint8Array) =>
  rig.transport.buckets.put("accounts", account, value);
const of = (tenant: string) => ({ tenant, tier: "enterprise" }) as const;

async function recordOf(account: string) {
  const entry = await rig.transport.buckets.get("accounts", account);
  return accountRecordSchema.parse(JSON.parse(new TextDecoder().decode(entry?.value)));
}

/** Users that are out, as the broker has them. */
async function outAt(account: string): Promise<string[]> {
  const token = (await rig.server.lookup(await rig.keeper.ensure(account))) ?? "";
  return Object.keys(readClaims(token).nats["revocations"] as object).toSorted();
}
const users = (...workers: string[]) =>
  workers.flatMap((worker) => rig.issuer.usersOf(worker)).toSorted();

/** Counts what the broker is told. */
function counted(): { readonly server: ClaimsServer; readonly pushes: () => number } {
  let pushes = 0;
  const push = (token: string) => {
    pushes += 1;
    return rig.server.push(token);
  };
  return { server: { ...rig.server, push }, pushes: () => pushes };
}

describe("the end of a worker", () => {
  it("is told the broker once, however many keepers hear of it and however often", async () => {
    const name = "tenant.once";
    const worker = await rig.worker("wrk_once", of("once"));
    const { server, pushes } = counted();
    const keepers = [rig.anotherKeeper({ server }), rig.anotherKeeper({ server })];
    for (const keeper of [...keepers, ...keepers]) await keeper.revoke(name, worker.id);
    await worker.nc.closed();
    expect(pushes()).toBe(1);
  });

  it("that is written down and was not told is told by whoever hears of it next", async () => {
    const name = "tenant.untold";
    const worker = await rig.worker("wrk_untold", of("untold"));
    let tries = 0;
    const push = (token: string) => {
      tries += 1;
      return tries === 1 ? Promise.reject(new Error("away")) : rig.server.push(token);
    };
    const keeper = rig.anotherKeeper({ server: { ...rig.server, push } });
    await expect(keeper.revoke(name, worker.id)).rejects.toThrow("away");
    await keeper.revoke(name, worker.id);
    await worker.nc.closed();
  });

  it("that could not even be written down is tried again with the next pass (W1)", async () => {
    const owner = of("again");
    const worker = await rig.worker("wrk_again", owner);
    let failures = 0;
    const buckets = changedBuckets(rig.transport.buckets, {
      put: (bucket, key, ...rest) => {
        if (key !== "tenant.again" || failures > 0)
          return rig.transport.buckets.put(bucket, key, ...rest);
        failures += 1;
        return Promise.reject(new Error("the broker is away"));
      },
    });
    const tenant = { id: "again", name: "a", tier: "enterprise", suspended: false, created_at: 1 };
    await rig.transport.buckets.put("tenants", "again", json(tenant));
    const watch = await AccountWatch.open({
      ...{ keeper: rig.anotherKeeper({ buckets }), buckets },
      ...{ clock: systemClock, logger: silentLogger, everyMs: 200 },
    });
    try {
      await rig.transport.buckets.put("workers", worker.id, json(workerRecord(worker.id, owner)));
      await rig.transport.buckets.remove("workers", worker.id);
      await eventually(() => worker.nc.isClosed(), { name: "it is cut off" });
      expect(failures).toBe(1);
    } finally {
      await watch.close();
    }
  });

  it("is not tried for every account of a broker that is away, and for others the next time (R3)", async () => {
    const names = Array.from({ length: 6 }, (_, n) => `tenant.later${n}`);
    for (const name of names) await rig.keeper.ensure(name);
    const tried: string[] = [];
    const buckets = changedBuckets(rig.transport.buckets, {
      put(_, key) {
        tried.push(key);
        return Promise.reject(new BerthError("broker.unavailable", "away"));
      },
    });
    const keeper = rig.anotherKeeper({ buckets });
    await Promise.allSettled(names.map((name) => keeper.revoke(name, "wrk_later")));
    expect(tried.splice(0).toSorted()).toEqual(names);
    await keeper.flush();
    expect(tried).toHaveLength(3);
    await keeper.flush();
    expect(tried.toSorted()).toEqual(names);
  });
});

function workerRecord(
  id: string,
  owner: { readonly tenant: string; readonly tier: "enterprise" },
): WorkerRecord {
  const spec: WorkerRecord["spec"] = {
    ...{ worker: id, ...owner, slots: 1, workspace: "job", workspace_key: "k" },
    ...{ cpus: 1, memory_bytes: 1, storage_bytes: 1, processes: 16, network: "tenant" },
    ...{ internet: false },
  };
  return {
    ...{ id, spec, host: "n", driver: "process", phase: "idle", created_at: 1, ready_at: 1 },
    ...{ idle_since: null, idle_deadline: null, jobs: [] },
  };
}

describe("an account's revocations", () => {
  it("are forgotten by a repair when the credentials have expired anyway", async () => {
    const name = "tenant.past";
    await fillRevocations(rig, name, { count: 20, forSeconds: -1 });
    await rig.keeper.revoke("tenant.other", "wrk_x");
    const now = Math.floor(systemClock.now() / 1_000);
    const record = await recordOf(name);
    const later = users("wrk_later");
    const revocations = { ...record.revocations, [later[0] ?? ""]: now + 600 };
    await put(name, json({ ...record, revocations }));
    await rig.keeper.repair();
    expect(Object.keys((await recordOf(name)).revocations)).toEqual(later);
    expect(await outAt(name)).toEqual(later);
  });

  it("fit into what the broker takes until the list is full; then no more is let in, and all else goes on", async () => {
    const name = "tenant.full";
    const counts: number[] = [];
    const keeper = rig.anotherKeeper({
      metrics: { gauge() {}, observe() {}, count: (_, __, by = 1) => void counts.push(by) },
    });
    const [last, over, stays] = await Promise.all(
      ["wrk_last", "wrk_over", "wrk_stays"].map((id) => rig.worker(id, of("full"))),
    );
    await fillRevocations(rig, name, { count: MOST_REVOCATIONS - 1 });
    await keeper.revoke(name, last?.id ?? "");
    await last?.nc.closed();
    expect(await outAt(name)).toHaveLength(MOST_REVOCATIONS);

    await expect(keeper.revoke(name, over?.id ?? "")).rejects.toMatchObject({
      code: "broker.unavailable",
      message: expect.stringContaining(`${MOST_REVOCATIONS} revocations`),
    });
    expect(counts).toEqual([1]);
    expect(over?.nc.isClosed()).toBe(false);

    // There is room again: who was refused is out with the next pass.
    await fillRevocations(rig, name, { count: 3 });
    await keeper.flush();
    await over?.nc.closed();
    expect(stays?.nc.isClosed()).toBe(false);

    await fillRevocations(rig, name, { count: MOST_REVOCATIONS });
    await keeper.suspend(name, true);
    await stays?.nc.closed();
    expect(await rig.anotherKeeper().ensure(name)).toBe((await recordOf(name)).public_key);
    await rig.keeper.remove(name);
  });
});

describe("a repair", () => {
  it("goes on behind an account whose record cannot be read, and says in the end which it was", async () => {
    await rig.keeper.ensure("tenant.zzz");
    const dead = { ...rig.server, push: () => Promise.reject(new Error("died here")) };
    const revoked = rig.anotherKeeper({ server: dead }).revoke("tenant.zzz", "wrk_z");
    await expect(revoked).rejects.toThrow("died");
    await put("tenant.aaa", new TextEncoder().encode("{"));
    try {
      await expect(rig.keeper.repair()).rejects.toMatchObject({
        code: "internal.unexpected",
        message: expect.stringContaining("tenant.aaa"),
      });
      expect(await outAt("tenant.zzz")).toEqual(users("wrk_z"));
    } finally {
      await rig.transport.buckets.remove("accounts", "tenant.aaa");
    }
  });

  it("puts out whom a keeper removed that died before it told, and tells it once", async () => {
    const name = "tenant.leftover";
    const worker = await rig.worker("wrk_leftover", of("leftover"));
    const dead = { ...rig.server, push: () => Promise.reject(new Error("died here")) };
    await expect(rig.anotherKeeper({ server: dead }).remove(name)).rejects.toThrow("died");
    expect(worker.nc.isClosed()).toBe(false);
    await rig.keeper.repair();
    await worker.nc.closed();
    await expect(rig.dial(worker.credential, "_INBOX")).rejects.toThrow(/authorization/i);
    const { server, pushes } = counted();
    await rig.anotherKeeper({ server }).repair();
    expect(pushes()).toBe(0);
    // The tenant's next account is another one.
    const next = await rig.worker("wrk_next", of("leftover"));
    await rig.keeper.repair();
    expect(next.nc.isClosed()).toBe(false);
  });

  it("has the broker forget a removed account when no credential of it counts, not before, and no other", async () => {
    const [gone, there] = await Promise.all([
      rig.keeper.ensure("tenant.forgotten"),
      rig.keeper.ensure("tenant.there"),
    ]);
    await rig.keeper.remove("tenant.forgotten");
    await rig.keeper.repair();
    expect(await rig.server.lookup(gone)).toBeDefined();
    const clock = { ...systemClock, now: () => systemClock.now() + 600_000 + 120_000 };
    await rig.anotherKeeper({ clock }).repair();
    await eventually(async () => (await rig.server.lookup(gone)) === undefined, {
      name: "it is forgotten",
    });
    for (const key of [there, rig.nats.keys.get("platform").publicKey])
      expect(await rig.server.lookup(key)).toBeDefined();
  });

  it("does not wait for every account of a broker that is away", async () => {
    const names = Array.from({ length: 10 }, (_, n) => `tenant.away${n}`);
    for (const name of names) await rig.keeper.ensure(name);
    let asked = 0;
    const lookup = () => {
      asked += 1;
      return Promise.reject(new BerthError("broker.unavailable", "away"));
    };
    const keeper = rig.anotherKeeper({ server: { ...rig.server, lookup } });
    await expect(keeper.repair()).rejects.toMatchObject({ code: "broker.unavailable" });
    expect(asked).toBe(3);
  });

  it("reads each account alone, however many tenants there are", async () => {
    const { buckets } = rig.transport;
    const tenants = Array.from({ length: 12 }, (_, n) => `many${n}`);
    for (const id of tenants) {
      const record = { id, name: id, tier: "pro", suspended: false, created_at: 1 };
      await buckets.put("tenants", id, json(record));
    }
    let readings = 0;
    const note = (bucket: string) => {
      if (bucket === "accounts") readings += 1;
    };
    const seen: Buckets = changedBuckets(buckets, {
      list(bucket, prefix) {
        note(bucket);
        return buckets.list(bucket, prefix);
      },
      keys(bucket, pattern) {
        note(bucket);
        return buckets.keys(bucket, pattern);
      },
    });
    const watch = await AccountWatch.open({
      ...{ keeper: rig.anotherKeeper({ buckets: seen }), buckets: seen },
      ...{ clock: systemClock, logger: silentLogger, everyMs: 60_000 },
    });
    await watch.close();
    expect(readings).toBeLessThan(tenants.length / 4);
  });
});
