import { beforeEach, describe, expect, test } from "vitest";
import { EgressPolicies } from "../../../../executor/egress/policies.ts";
import { RecentActs } from "../../../../executor/egress/recent-acts.ts";
import { RunningJobs } from "../../../../executor/egress/running-jobs.ts";
import { EgressTokens, tryParseCredential } from "../../../../executor/egress/tokens.ts";
import { egressListSchema } from "../../../../protocols/egress.ts";
import type { JobState } from "../../../../protocols/job.ts";
import type { TenantRecord } from "../../../../protocols/records.ts";
import { tierTable } from "../../../../protocols/tiers.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

const hosts = (...given: readonly string[]) => egressListSchema.parse(given);
const ACME: TenantRecord = {
  id: "acme",
  name: "Acme",
  tier: "pro",
  suspended: false,
  egress: hosts("acme.test"),
  created_at: 1,
};

describe("the policies of tenants", () => {
  let clock: ManualClock;
  let stored: TenantRecord | undefined;
  let isAway: boolean;
  let reads: number;
  let policies: EgressPolicies;
  beforeEach(() => {
    clock = new ManualClock();
    [stored, isAway, reads] = [ACME, false, 0];
    const get = (bucket: string, key: string) => {
      reads += 1;
      if (isAway) return Promise.reject(new Error("away"));
      const isStored = bucket === "tenants" && key === stored?.id;
      const value = isStored ? new TextEncoder().encode(JSON.stringify(stored)) : undefined;
      return Promise.resolve({ key, revision: 1, value, at: 0 });
    };
    const tiers = tierTable({
      free: { egress: "none" },
      pro: { egressHosts: hosts("tier.test") },
    });
    policies = new EgressPolicies({ tiers, buckets: { get }, clock });
  });

  const named = async (tenant: string, tier: "free" | "pro" = "pro") =>
    (await policies.of({ tenant, tier })).hosts.map(({ host }) => host);

  test("are a tier's hosts and the tenant's beside them, and a change counts after two seconds", async () => {
    expect(await named("acme")).toEqual(["tier.test", "acme.test"]);
    expect(await named("nobody")).toEqual(["tier.test"]);
    stored = { ...ACME, egress: hosts("other.test") };
    expect(await named("acme")).toEqual(["tier.test", "acme.test"]);
    expect(reads).toBe(2);
    await clock.advance(2_000);
    expect(await named("acme")).toEqual(["tier.test", "other.test"]);
  });

  test("give no way out to a tier that has none, whatever its tenant is given, and to a suspended tenant", async () => {
    expect(await policies.of({ tenant: "acme", tier: "free" })).toEqual({
      mode: "none",
      hosts: [],
    });
    stored = { ...ACME, suspended: true };
    expect(await policies.of({ tenant: "acme", tier: "pro" })).toEqual({ mode: "none", hosts: [] });
  });

  test("stay as they were while the broker is away, and are none for a tenant that was never looked up", async () => {
    await named("acme");
    isAway = true;
    await clock.advance(60_000);
    expect(await named("acme")).toEqual(["tier.test", "acme.test"]);
    await expect(named("other")).rejects.toThrow("away");
    isAway = false;
    expect(await named("other")).toEqual(["tier.test"]);
  });
});

describe("a job that a placeholder was made for", () => {
  const placeholder = {
    ...{ worker: "w1", tenant: "acme", user: "ann", job: "job_1", attempt: 2 },
    ...{ provider: "claude_api", expires_at: 10 },
  };
  const recordOf = (state: JobState, attempt: number) => ({
    ...{ id: `job_${"0".repeat(26)}`, session_id: `ses_${"0".repeat(26)}` },
    ...{ tenant: "acme", user: "ann", agent: "claude" },
    ...{ tier: "pro", prompt: "", timeout_ms: null, created_at: 1, state, attempt },
    ...{ started_at: null, finished_at: null, exit_code: null, error: null, usage: null },
  });

  test.each([
    ["running", 2, true],
    ["starting", 2, true],
    ["queued", 1, true],
    ["running", 3, false],
    ["succeeded", 2, false],
    ["interrupted", 2, false],
  ] as const)("when it is %s in attempt %i: %s", async (state, attempt, runs) => {
    const value = new TextEncoder().encode(JSON.stringify(recordOf(state, attempt)));
    const get = (_: string, key: string) =>
      Promise.resolve(key === "acme.ann.job_1" ? { key, revision: 1, value, at: 0 } : undefined);
    const jobs = new RunningJobs({ get }, new ManualClock());
    expect(await jobs.has(placeholder)).toBe(runs);
    expect(await jobs.has({ ...placeholder, user: "bob" })).toBe(false);
  });

  test("is asked for again two seconds later, and at once after a failure", async () => {
    const clock = new ManualClock();
    let state: JobState | "away" = "away";
    const get = (_: string, key: string) => {
      if (state === "away") return Promise.reject(new Error("away"));
      const value = new TextEncoder().encode(JSON.stringify(recordOf(state, 2)));
      return Promise.resolve({ key, revision: 1, value, at: 0 });
    };
    const jobs = new RunningJobs({ get }, clock);
    await expect(jobs.has(placeholder)).rejects.toThrow("away");
    state = "running";
    expect(await jobs.has(placeholder)).toBe(true);
    state = "succeeded";
    expect(await jobs.has(placeholder)).toBe(true);
    await clock.advance(2_000);
    expect(await jobs.has(placeholder)).toBe(false);
  });
});

describe("a worker's token", () => {
  const tokens = new EgressTokens(Buffer.alloc(32, 1));

  test("is the same in every process that has the key, and another for each worker and key", () => {
    const token = tokens.ofWorker("w1");
    expect(new EgressTokens(Buffer.alloc(32, 1)).isOfWorker("w1", token)).toBe(true);
    expect(new EgressTokens(Buffer.alloc(32, 2)).isOfWorker("w1", token)).toBe(false);
    for (const wrong of ["", token.slice(1), `${token}a`, tokens.ofWorker("w2")])
      expect(tokens.isOfWorker("w1", wrong)).toBe(false);
  });

  test("is read of what a program makes of the proxy's URL, and of nothing else", () => {
    const basic = (text: string) => `Basic ${Buffer.from(text).toString("base64")}`;
    expect(tryParseCredential(basic("w1:a:b"))).toEqual({ worker: "w1", token: "a:b" });
    for (const wrong of [
      undefined,
      "",
      "Basic",
      basic("w1"),
      basic(":a"),
      basic("w1:"),
      "Bearer a:b",
    ])
      expect(tryParseCredential(wrong)).toBeUndefined();
  });
});

test("an act of a worker is told once a minute, and no more than sixteen of one worker", async () => {
  const clock = new ManualClock();
  const recent = new RecentActs(clock);
  expect([recent.isNew("w1", "a"), recent.isNew("w1", "a")]).toEqual([true, false]);
  for (let n = 1; n < 16; n += 1) expect(recent.isNew("w1", `b${n}`)).toBe(true);
  expect([recent.isNew("w1", "c"), recent.isNew("w2", "a")]).toEqual([false, true]);
  await clock.advance(60_000);
  expect([recent.isNew("w1", "a"), recent.isNew("w1", "c")]).toEqual([true, true]);
});
