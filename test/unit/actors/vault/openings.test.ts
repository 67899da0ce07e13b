/** What the trail has of a key that an agent uses as often as it likes, through the broker of keys. */
import { describe, expect, it } from "vitest";
import { Openings } from "../../../../actors/vault/openings.ts";
import type { Act } from "../../../../protocols/audit.ts";
import { BerthError } from "../../../../protocols/errors.ts";
import { silentLogger } from "../../../../runtime/logger.ts";
import { noMetrics } from "../../../../runtime/metrics.ts";
import { deferred } from "../../../support/deferred.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { KeyFile, keyLine, vaultRig } from "../../../support/vault-rig.ts";

const REQUEST = { tenant: "acme", user: "ann", provider: "openai", purpose: "job_1", attempt: 1 };

function rig(maxGroups?: number) {
  const clock = new ManualClock();
  const acts: Act[] = [];
  const lost: string[] = [];
  const state = { record: (act: Act): Promise<void> => Promise.resolve(void acts.push(act)) };
  const metrics = { ...noMetrics, count: (name: string) => void lost.push(name) };
  const audit = { record: (act: Act) => state.record(act) };
  const openings = new Openings({ audit, clock, log: silentLogger, metrics }, maxGroups);
  return { acts, clock, lost, openings, state };
}

describe("openings of a key", () => {
  it("for one attempt are two entries a minute, whatever their number, and none is lost", async () => {
    const { acts, clock, openings } = rig();
    for (let n = 0; n < 1_000; n += 1) await openings.record(REQUEST);
    expect(acts).toHaveLength(1);
    await clock.advance(60_000);
    await openings.record(REQUEST);
    await openings.record(REQUEST);
    await openings.close();
    expect(acts.map(({ count }) => count)).toEqual([1, 999, 1, 1]);
    const fact = { act: "credential.deliver", target: "job_1", outcome: "allowed" };
    const detail = { user: "ann", provider: "openai", attempt: "1" };
    for (const act of acts) expect(act).toMatchObject({ ...fact, detail });
    expect(clock.pending).toBe(0);
  });

  it("are told apart by job, attempt, provider and failure", async () => {
    const { acts, openings } = rig();
    const others = [{ purpose: "job_2" }, { attempt: 2 }, { provider: "gemini" }, { user: "bob" }];
    for (const other of [{}, ...others]) await openings.record({ ...REQUEST, ...other });
    await openings.record(REQUEST, "credential.unreadable");
    expect(acts).toHaveLength(6);
  });

  it("for no attempt are each an entry, and so are those beyond the groups that are kept", async () => {
    const { acts, openings } = rig(2);
    const { attempt: _, ...single } = REQUEST;
    for (let n = 0; n < 3; n += 1) await openings.record(single);
    expect(acts).toHaveLength(3);
    for (const attempt of [1, 2, 3, 3, 3]) await openings.record({ ...REQUEST, attempt });
    expect(acts).toHaveLength(3 + 5);
  });

  it("wait for the first one's entry, and all fail with it", async () => {
    const { acts, openings, state } = rig();
    const written = deferred();
    const { record } = state;
    state.record = () =>
      written.promise.then(() => Promise.reject(new BerthError("audit.unavailable")));
    const over: string[] = [];
    const three = [1, 2, 3].map(() =>
      openings.record(REQUEST).catch(({ code }: BerthError) => void over.push(code)),
    );
    await new Promise(setImmediate);
    expect(over).toEqual([]);
    written.resolve();
    await Promise.all(three);
    expect(over).toEqual(Array(3).fill("audit.unavailable"));
    state.record = record;
    await openings.record(REQUEST);
    expect(acts.map(({ count }) => count)).toEqual([1]);
  });

  it("that were counted and cannot be recorded are told of as lost, and the next is given only when it is recorded", async () => {
    const { clock, lost, openings, state } = rig();
    await openings.record(REQUEST);
    await openings.record(REQUEST);
    state.record = () => Promise.reject(new BerthError("audit.unavailable"));
    await clock.advance(60_000);
    expect(lost).toEqual(["berth_audit_lost_total"]);
    await expect(openings.record(REQUEST)).rejects.toMatchObject({ code: "audit.unavailable" });
  });

  it("from the vault itself are counted until it closes", async () => {
    const { acts, put, vault } = await vaultRig(new KeyFile(keyLine("k1")));
    await put("openai", "sk-test-0123456789abcdef-wxyz");
    for (let n = 0; n < 20; n += 1) expect(await vault.open(REQUEST)).toMatch(/^sk-/);
    await vault.close();
    expect(acts.map(({ count }) => count)).toEqual([1, 19]);
  });
});
