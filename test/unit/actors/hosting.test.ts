import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isPastLife, workspaceKeptMs } from "../../../actors/hosting/decide-workspace.ts";
import { hostDesires } from "../../../actors/hosting/host-desires.ts";
import { BerthError } from "../../../protocols/errors.ts";
import { PLATFORM_TENANT } from "../../../protocols/ids.ts";
import type { TenantRecord } from "../../../protocols/records.ts";
import { TIERS, tierTable } from "../../../protocols/tiers.ts";
import type { Client } from "../../../runtime/client.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const HOUR = 3_600_000;
const tiers = tierTable({ pro: { workspaceKeptMs: 24 * HOUR } });

describe("how long a workspace is kept", () => {
  it("is the tier's word, for good where that says so, and a week for a tenant that nobody knows", () => {
    expect(workspaceKeptMs("acme", { tier: "pro" }, tiers)).toBe(24 * HOUR);
    expect(workspaceKeptMs("big", { tier: "enterprise" }, tiers)).toBeNull();
    expect(workspaceKeptMs("who", undefined, tiers)).toBe(7 * 24 * HOUR);
    expect(workspaceKeptMs(PLATFORM_TENANT, undefined, tiers)).toBe(0);
  });

  it("is over only once all of it has passed, and never for good", () => {
    const ms = fc.nat({ max: 10 * 24 * HOUR });
    fc.assert(
      fc.property(ms, ms, fc.option(ms), (usedAt, later, keptMs) => {
        const isOver = isPastLife(usedAt, keptMs, usedAt + later);
        expect(isOver).toBe(keptMs !== null && later >= keptMs);
      }),
    );
  });
});

/** The supervisors' answers are given; what was asked of whom is kept. */
function rig(answers: { wanted?: boolean | null; owned?: string[] } | BerthError) {
  const clock = new ManualClock();
  const { buckets } = connectMemory(new MemoryBroker({ clock }));
  const asked: string[] = [];
  const answer = (tenant: string, type: string) => {
    asked.push(`${tenant} ${type}`);
    if (answers instanceof BerthError) return Promise.reject(answers);
    return Promise.resolve({ wanted: answers.wanted ?? null, owned: answers.owned ?? [] });
  };
  const client = {
    actor: (_protocol: unknown, tenant: string) => ({
      owns: () => answer(tenant, "owns"),
      workspaceWanted: () => answer(tenant, "workspaceWanted"),
    }),
  } as unknown as Client;
  const store = (bucket: "tenants" | "workers", key: string, value: unknown) =>
    buckets.put(bucket, key, new TextEncoder().encode(JSON.stringify(value)));
  return {
    clock,
    asked,
    store,
    desires: hostDesires({ client, buckets, tiers, clock, logger: silentLogger }),
    tenant: (tier: TenantRecord["tier"]) =>
      store("tenants", "acme", {
        id: "acme",
        name: "Acme",
        tier,
        suspended: false,
        created_at: 0,
      } satisfies TenantRecord),
    usedAgo: (ms: number) => ({ tenant: "acme", key: "u-ann", usedAt: clock.now() - ms }),
  };
}

describe("whether a workspace is wanted", () => {
  it("needs nobody's word while the tier's time runs: hosts ask often, and supervisors rest", async () => {
    const { desires, tenant, usedAgo, asked } = rig({ wanted: null });
    await tenant("pro");
    expect(await desires.isWorkspaceWanted(usedAgo(24 * HOUR - 1))).toBe(true);
    await tenant("enterprise");
    expect(await desires.isWorkspaceWanted(usedAgo(10_000 * HOUR))).toBe(true);
    expect(asked).toEqual([]);
  });

  it.each([
    [true, true],
    [null, false],
    [false, false],
  ])("is, when that time has passed, for a supervisor that says %s: %s", async (wanted, is) => {
    const { desires, tenant, usedAgo } = rig({ wanted });
    await tenant("pro");
    expect(await desires.isWorkspaceWanted(usedAgo(24 * HOUR))).toBe(is);
  });

  it("is not known when the supervisor cannot be asked, nor when the tenant's record cannot be read", async () => {
    const silent = rig(new BerthError("ask.timeout"));
    await silent.tenant("pro");
    await expect(silent.desires.isWorkspaceWanted(silent.usedAgo(99 * HOUR))).rejects.toMatchObject(
      { code: "ask.timeout" },
    );
    const broken = rig({ wanted: null });
    await broken.store("tenants", "acme", { tier: "gold" });
    await expect(broken.desires.isWorkspaceWanted(broken.usedAgo(999 * HOUR))).rejects.toThrow();
  });

  it("is for a week when nobody knows the tenant", async () => {
    const { desires, usedAgo } = rig({ wanted: null });
    expect(await desires.isWorkspaceWanted(usedAgo(7 * 24 * HOUR - 1))).toBe(true);
    expect(await desires.isWorkspaceWanted(usedAgo(7 * 24 * HOUR))).toBe(false);
  });

  it("is never denied on one word alone, whatever the tier, the time and the supervisor's answer", async () => {
    const answers = fc.constantFrom(true, false, null);
    const tier = fc.constantFrom(...TIERS, undefined);
    await fc.assert(
      fc.asyncProperty(answers, tier, fc.nat({ max: 300 }), async (wanted, of, hours) => {
        const { desires, tenant, usedAgo } = rig({ wanted });
        if (of) await tenant(of);
        const keptMs = of ? tiers[of].workspaceKeptMs : 7 * 24 * HOUR;
        const isWanted = await desires.isWorkspaceWanted(usedAgo(hours * HOUR));
        if (keptMs === null || hours * HOUR < keptMs || wanted === true)
          expect(isWanted).toBe(true);
        else expect(isWanted).toBe(false);
      }),
    );
  });
});

describe("a host's view of the records", () => {
  it("leaves out what cannot be read, for the supervisors to say whose it is", async () => {
    const { desires, store, asked } = rig({ owned: ["wrk_broken"] });
    await store("workers", "wrk_broken", { id: 7 });
    expect(await desires.records()).toEqual([]);
    const live = { worker: "wrk_broken", spec: { tenant: "acme" } };
    expect(await desires.isOwned(live)).toBe(true);
    expect(await desires.isOwned({ ...live, worker: "wrk_other" })).toBe(false);
    expect(asked).toEqual(["acme owns", "acme owns"]);
  });
});
