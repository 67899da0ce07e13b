import { describe, expect, it } from "vitest";
import { type Act, type AuditEntry, systemActor } from "../../../protocols/audit.ts";
import { BerthError } from "../../../protocols/errors.ts";
import { type AuditStore, auditOf } from "../../../runtime/audit.ts";
import { verifyChain } from "../../../runtime/audit-chain.ts";
import { boundedDenials, networkOf } from "../../../runtime/denials.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import { noMetrics } from "../../../runtime/metrics.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const act = (target: string, more: Partial<Act> = {}): Act => ({
  tenant: "acme",
  actor: systemActor("test"),
  act: "node.drain",
  target,
  outcome: "allowed",
  ...more,
});

function trail() {
  const clock = new ManualClock();
  const broker = new MemoryBroker({ clock });
  const { audit: store } = connectMemory(broker);
  return { clock, broker, store, audit: auditOf({ store, clock, random }) };
}

const random = () => 0.5;

/** Moves time on until the work is settled. */
async function settled<T>(clock: ManualClock, work: Promise<T>): Promise<T> {
  const left = new Set([work]);
  const over = () => left.delete(work);
  void work.then(over, over);
  for (let n = 0; left.size > 0 && n < 1_000; n += 1) await clock.advance(10);
  return await work;
}

/** The store with its next appends failing in this way. */
function failing(store: AuditStore, fail: (append: () => Promise<void>) => Promise<void>) {
  return {
    ...store,
    append: (entry: AuditEntry, expected: number) => fail(() => store.append(entry, expected)),
  };
}

describe("the audit trail", () => {
  it("takes an entry once when the answer to its write was lost (U3)", async () => {
    const { broker, clock, store } = trail();
    let lost = 0;
    const audit = auditOf({
      clock,
      random,
      store: failing(store, async (append) => {
        await append();
        lost += 1;
        if (lost === 1) throw new BerthError("broker.unavailable");
      }),
    });
    await settled(clock, audit.record(act("a")));
    await settled(clock, audit.record(act("b")));
    expect(broker.audit.map(({ target }) => target)).toEqual(["a", "b"]);
    expect(verifyChain(broker.audit, { now: clock.now() }).fault).toBeUndefined();
  });

  it("takes the next place when another writer was first, also behind a lost answer (U2, U3)", async () => {
    const { audit: other, broker, clock, store } = trail();
    let calls = 0;
    const audit = auditOf({
      clock,
      random,
      store: failing(store, async (append) => {
        calls += 1;
        if (calls === 1) await other.record(act("other"));
        await append();
        if (calls === 2) {
          await other.record(act("behind"));
          throw new BerthError("broker.unavailable");
        }
      }),
    });
    await settled(clock, audit.record(act("mine")));
    expect(broker.audit.map(({ target }) => target)).toEqual(["other", "mine", "behind"]);
  });

  it("says that it cannot be written when the broker is away, and does not wait for ever (U1)", async () => {
    const { clock, store } = trail();
    const away = failing(store, () => Promise.reject(new BerthError("broker.unavailable")));
    const audit = auditOf({ clock, random, store: away });
    await expect(settled(clock, audit.record(act("a")))).rejects.toMatchObject({
      code: "audit.unavailable",
      retry: "later",
    });
    expect(clock.monotonic()).toBeLessThanOrEqual(5_010);
  });

  it.each(["newest", "append"] as const)(
    "outlasts a broker that is away for seconds, as its %s says (U1)",
    async (which) => {
      const { broker, clock, store } = trail();
      const own = store[which] as (...given: never[]) => Promise<unknown>;
      const away = (...given: never[]) =>
        clock.monotonic() < 4_000
          ? Promise.reject(new BerthError("broker.unavailable"))
          : own(...given);
      const audit = auditOf({ clock, random, store: { ...store, [which]: away } });
      await settled(clock, audit.record(act("a")));
      expect(broker.audit.map(({ target }) => target)).toEqual(["a"]);
    },
  );

  it.each([0, 0.5, 0.999])(
    "asks a broker that refuses at once after pauses, not in a loop (chance %d)",
    async (chance) => {
      const { clock, store } = trail();
      const tries: number[] = [];
      const refusing = failing(store, () => {
        tries.push(clock.monotonic());
        return Promise.reject(new BerthError("record.conflict"));
      });
      const audit = auditOf({ clock, random: () => chance, store: refusing });
      await expect(settled(clock, audit.record(act("a")))).rejects.toThrow();
      const pauses = tries.slice(1).map((at, n) => at - tries[n]!);
      expect(Math.min(...pauses)).toBeGreaterThanOrEqual(19.999);
      expect(Math.max(...pauses)).toBeLessThanOrEqual(250);
      expect(tries.at(-1)).toBeGreaterThan(4_700);
    },
  );
});

describe("denials", () => {
  function counting(maxGroups?: number) {
    const { audit, broker, clock } = trail();
    const base = { audit, clock, logger: silentLogger, metrics: noMetrics };
    const denials = boundedDenials(maxGroups === undefined ? base : { ...base, maxGroups });
    return { broker, clock, denials };
  }
  const refused = (source: string): Act =>
    act("GET /v1/me", { act: "auth.refused", outcome: "denied", code: "auth.invalid", source });

  it("of one source are two entries a minute, whatever their number", async () => {
    const { broker, clock, denials } = counting();
    for (let n = 0; n < 1_000; n += 1) denials.note(refused("192.0.2.1"));
    await clock.advance(60_000);
    await denials.close();
    expect(broker.audit.map(({ count }) => count)).toEqual([1, 999]);
  });

  it("of one source are one entry when there was one, and none is lost at the end", async () => {
    const { broker, clock, denials } = counting();
    denials.note(refused("192.0.2.1"));
    await clock.advance(60_000);
    denials.note(refused("192.0.2.1"));
    denials.note(refused("192.0.2.1"));
    await denials.close();
    expect(broker.audit.map(({ count }) => count)).toEqual([1, 1, 1]);
  });

  it("of more sources than are told apart are counted together, and all of them", async () => {
    const { broker, denials } = counting(10);
    for (let n = 0; n < 5_000; n += 1) denials.note(refused(`10.0.${n >> 8}.${n & 255}`));
    await denials.close();
    expect(broker.audit.length).toBe(12);
    expect(broker.audit.reduce((sum, { count }) => sum + count, 0)).toBe(5_000);
    expect(broker.audit.at(-1)).toMatchObject({ actor: { user: "many" }, source: null });
  });

  it.each([
    ["192.0.2.7", "192.0.2.7"],
    ["::ffff:192.0.2.7", "192.0.2.7"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
  ])("from %s count for %s", (address, network) => {
    expect(networkOf(address)).toBe(network);
  });
});
