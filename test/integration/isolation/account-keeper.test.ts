/** What a keeper of accounts asks of the broker and tells it, on a real nats-server. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import type { ClaimsServer } from "../../../runtime/nats-auth/account-publisher.ts";
import { AccountWatch } from "../../../runtime/nats-auth/account-watch.ts";
import type { Buckets } from "../../../runtime/transport.ts";
import { changedBuckets } from "../../support/changed-buckets.ts";
import { type OperatorRig, operatorRig } from "../../support/operator-rig.ts";

let rig: OperatorRig;
beforeAll(async () => {
  rig = await operatorRig();
});
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
});

const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const of = (tenant: string) => ({ tenant, tier: "enterprise" }) as const;

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
});

describe("a repair", () => {
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
