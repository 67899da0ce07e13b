/** Accounts and revocation at run time, on a real nats-server that is never restarted. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { accountRecordSchema } from "../../../protocols/accounts.ts";
import type { WorkerRecord } from "../../../protocols/executor.ts";
import type { Tier } from "../../../protocols/tiers.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import type { ClaimsServer } from "../../../runtime/nats-auth/account-publisher.ts";
import { AccountWatch } from "../../../runtime/nats-auth/account-watch.ts";
import { readClaims } from "../../../runtime/nats-auth/jwt.ts";
import { tenantAccount } from "../../../runtime/nats-auth/worker-account.ts";
import { deferred } from "../../support/deferred.ts";
import { eventually } from "../../support/eventually.ts";
import { type OperatorRig, operatorRig } from "../../support/operator-rig.ts";

const PROGRAM = new URL("../../support/programs/account-keeper.ts", import.meta.url).pathname;
const CUT_WITHIN_MS = 100;

let rig: OperatorRig;
beforeAll(async () => {
  rig = await operatorRig();
});
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
});

const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const recordOf = async (name: string) => {
  const entry = await rig.transport.buckets.get("accounts", name);
  if (!entry?.value) return undefined;
  return accountRecordSchema.parse(JSON.parse(new TextDecoder().decode(entry.value)));
};
/** What the server holds of an account. */
const told = async (publicKey: string) => {
  const token = await rig.server.lookup(publicKey);
  return token === undefined ? undefined : readClaims(token).nats;
};
const median = (values: number[]) => values.toSorted((x, y) => x - y)[values.length >> 1] ?? 0;
const works = (nc: NatsConnection) => nc.flush().then(() => !nc.isClosed());

/** Has accounts follow tenants and workers for the tests of a group. */
function followed(): void {
  let watch: AccountWatch | undefined;
  beforeAll(async () => {
    const { buckets } = rig.transport;
    watch = await AccountWatch.open({
      ...{ keeper: rig.keeper, buckets, clock: systemClock, logger: silentLogger, everyMs: 500 },
    });
  });
  afterAll(async () => {
    await watch?.close();
  });
}

async function putTenant(id: string, tier: Tier, suspended = false): Promise<void> {
  const record = { id, name: id, tier, suspended, created_at: 1 };
  await rig.transport.buckets.put("tenants", id, json(record));
}

async function putWorker(id: string, owner: { tenant: string; tier: Tier }): Promise<void> {
  const spec: WorkerRecord["spec"] = {
    ...{ worker: id, ...owner, slots: 1, workspace: "job", workspace_key: "k" },
    ...{ cpus: 1, memory_bytes: 1, storage_bytes: 1, processes: 16, network: "tenant" },
    ...{ internet: false },
  };
  const record: WorkerRecord = {
    ...{ id, spec, host: "n", driver: "process", phase: "idle", created_at: 1, ready_at: 1 },
    ...{ idle_since: null, idle_deadline: null, jobs: [] },
  };
  await rig.transport.buckets.put("workers", id, json(record));
}

describe("revocation", () => {
  followed();

  it("cuts who goes on publishing whatever happens, and lets it in no more; others stay", async () => {
    const other = await rig.worker("wrk_other");
    const heard = new Map<string, number>();
    rig.node.subscribe("berth.hello.*", {
      callback: (_, { subject }) => void heard.set(subject, (heard.get(subject) ?? 0) + 1),
    });
    await rig.node.flush();
    const took: number[] = [];
    for (let n = 0; n < 9; n += 1) {
      const thief = await rig.worker(`wrk_thief${n}`);
      const subject = `berth.hello.${thief.id}`;
      const hammer = async () => {
        while (!thief.nc.isClosed()) {
          thief.nc.publish(subject, "mine");
          await Promise.race([thief.nc.flush(), thief.nc.closed()]);
        }
      };
      const hammering = hammer().catch(() => undefined);
      await eventually(() => (heard.get(subject) ?? 0) > 0, { name: "it is heard" });
      const from = systemClock.monotonic();
      const closed = thief.nc.closed().then(() => took.push(systemClock.monotonic() - from));
      await rig.keeper.revoke(thief.account, thief.id);
      await closed;
      await hammering;
      await rig.node.flush();
      const last = heard.get(subject);
      await expect(rig.dial(thief.credential, "_INBOX")).rejects.toThrow(/authorization/i);
      // A younger token of the same worker is refused, too: its id is used once.
      const again = rig.issuer.issue(thief.id, await rig.keeper.ensure(thief.account));
      await expect(rig.dial(again, "_INBOX")).rejects.toThrow(/authorization/i);
      expect(heard.get(subject)).toBe(last);
    }
    expect(median(took)).toBeLessThan(CUT_WITHIN_MS);
    expect(await works(other.nc)).toBe(true);
    process.stdout.write(`cut after ${median(took).toFixed(1)} ms (median of ${took.length})\n`);
  });

  it("of many at once is a few changes, and leaves nobody out", async () => {
    const many = await Promise.all(
      Array.from({ length: 60 }, (_, n) => rig.worker(`wrk_many${n}`)),
    );
    const before = (await rig.transport.buckets.get("accounts", "shared"))?.revision ?? 0;
    await Promise.all(many.map(({ account, id }) => rig.keeper.revoke(account, id)));
    await Promise.all(many.map(({ nc }) => nc.closed()));
    const after = (await rig.transport.buckets.get("accounts", "shared"))?.revision ?? 0;
    expect(after - before).toBeGreaterThan(0);
    expect(after - before).toBeLessThan(10);
  });

  it("follows the record of a worker, whoever removed it", async () => {
    const owner = { tenant: "platform", tier: "free" } as const;
    const worker = await rig.worker("wrk_gone", owner);
    await putWorker(worker.id, owner);
    await rig.transport.buckets.remove("workers", worker.id);
    await worker.nc.closed();
    await expect(rig.dial(worker.credential, "_INBOX")).rejects.toThrow(/authorization/i);
  });
});

describe("a tenant's account", () => {
  followed();
  const acme = (tier: Tier = "enterprise") => ({ tenant: "acme", tier });

  it("is made when the tenant becomes enterprise, before any worker asks", async () => {
    await putTenant("acme", "pro");
    await putTenant("acme", "enterprise");
    await eventually(async () => (await recordOf("tenant.acme")) !== undefined, {
      name: "the account",
    });
    const key = (await recordOf("tenant.acme"))?.public_key ?? "";
    await eventually(async () => (await told(key)) !== undefined, { name: "the broker knows" });
    expect(await told(key)).toMatchObject({
      limits: { conn: 1_024, subs: 8, payload: 512 * 1024, streams: 0, disk_storage: 0 },
    });
  });

  it("is suspended with the tenant: closed, shut, and open again to the same workers", async () => {
    await putTenant("acme", "enterprise");
    await putTenant("other", "enterprise");
    const worker = await rig.worker("wrk_acme", acme());
    const stranger = await rig.worker("wrk_else", { tenant: "other", tier: "enterprise" });
    await putTenant("acme", "enterprise", true);
    await worker.nc.closed();
    await expect(rig.dial(worker.credential, "_INBOX")).rejects.toThrow();
    expect(await works(stranger.nc)).toBe(true);
    await putTenant("acme", "enterprise", false);
    const back = await eventually(() => rig.dial(worker.credential, `_INBOX_worker.${worker.id}`), {
      name: "it may connect again",
    });
    expect(await works(back)).toBe(true);
  });

  it("stays while workers of it are on record when the tenant leaves the tier, and goes after", async () => {
    await putTenant("acme", "enterprise");
    const worker = await rig.worker("wrk_last", acme());
    await putWorker(worker.id, acme());
    await putTenant("acme", "pro");
    // A later change of another tenant has been followed, so this one was, too.
    await putTenant("later", "enterprise");
    await eventually(async () => (await recordOf("tenant.later")) !== undefined, {
      name: "the later tenant's account",
    });
    expect(await works(worker.nc)).toBe(true);
    await rig.transport.buckets.remove("workers", worker.id);
    await worker.nc.closed();
    await eventually(async () => (await recordOf("tenant.acme")) === undefined, {
      name: "the account is gone",
    });
  });

  it("goes with the tenant, and what was in it cannot come back", async () => {
    await putTenant("brief", "enterprise");
    const worker = await rig.worker("wrk_brief", { tenant: "brief", tier: "enterprise" });
    const key = (await recordOf("tenant.brief"))?.public_key ?? "";
    await rig.transport.buckets.remove("tenants", "brief");
    await worker.nc.closed();
    // Forgotten it would be brought back by a server that was away.
    expect(await told(key)).toMatchObject({ limits: { conn: 0 }, tags: ["removed"] });
    expect((await told(key))?.["signing_keys"] ?? []).toEqual([]);
    await expect(rig.dial(worker.credential, "_INBOX")).rejects.toThrow(/authorization/i);
  });
});

describe("two keepers of one account", () => {
  const users = (names: readonly string[]) => names.flatMap((name) => rig.issuer.usersOf(name));

  it("leave the newest with the broker, though the older is told last", async () => {
    const name = tenantAccount("race");
    const publicKey = await rig.keeper.ensure(name);
    const held = deferred();
    const reached = deferred();
    const slow: ClaimsServer = {
      ...rig.server,
      async push(token) {
        reached.resolve();
        await held.promise;
        await rig.server.push(token);
      },
    };
    const first = rig.anotherKeeper({ server: slow }).revoke(name, "wrk_early");
    await reached.promise;
    await rig.keeper.revoke(name, "wrk_late");
    held.resolve();
    await first;
    const { revocations } = (await told(publicKey)) ?? {};
    expect(Object.keys(revocations as object).toSorted()).toEqual(
      users(["wrk_early", "wrk_late"]).toSorted(),
    );
  });

  it("in two processes lose none of each other's revocations", async () => {
    const name = tenantAccount("processes");
    const publicKey = await rig.keeper.ensure(name);
    const shares = ["a", "b"].map((letter) =>
      Array.from({ length: 25 }, (_, n) => `wrk_${letter}${n}`),
    );
    const codes = await Promise.all(
      shares.map(async (workers) => {
        const { url, keys } = rig.nats;
        const input = JSON.stringify({ url, folder: keys.folder, account: name, workers });
        const child = spawn(process.execPath, ["--import", "tsx", PROGRAM, input], {
          stdio: ["ignore", "inherit", "inherit"],
        });
        const [code] = await once(child, "exit");
        return code as number;
      }),
    );
    expect(codes).toEqual([0, 0]);
    const { revocations } = (await told(publicKey)) ?? {};
    expect(Object.keys(revocations as object).toSorted()).toEqual(users(shares.flat()).toSorted());
  });

  it("one tells what another that died had only written down", async () => {
    const name = tenantAccount("orphan");
    const publicKey = await rig.keeper.ensure(name);
    const dead: ClaimsServer = {
      ...rig.server,
      push: () => Promise.reject(new Error("the process died here")),
    };
    await expect(rig.anotherKeeper({ server: dead }).revoke(name, "wrk_o")).rejects.toThrow("died");
    expect(Object.keys((await told(publicKey))?.["revocations"] ?? {})).toEqual([]);
    await rig.keeper.repair();
    expect(Object.keys((await told(publicKey))?.["revocations"] as object)).toEqual(
      users(["wrk_o"]),
    );
  });
});
