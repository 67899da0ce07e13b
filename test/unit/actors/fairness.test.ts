import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { agedPriority, type FairPolicy, pickFair } from "../../../actors/fair-order.ts";
import { decideDispatch, type FreeSlots } from "../../../actors/places/decide-dispatch.ts";
import { decideRoom } from "../../../actors/places/decide-room.ts";
import type { JobTicket } from "../../../protocols/job.ts";
import { DEFAULT_TIERS, TIERS, type Tier } from "../../../protocols/tiers.ts";

const policy: FairPolicy = { priorityOf: (tier) => DEFAULT_TIERS[tier].priority, agePerSecond: 1 };

let counter = 0;
function ticket(tenant: string, more: Partial<JobTicket> = {}): JobTicket {
  counter += 1;
  return {
    job_id: `job_${counter}`,
    session_id: "ses",
    user: "u",
    tenant,
    agent: "echo",
    tier: "free",
    queued_at: counter,
    attempt: 1,
    ...more,
  };
}

/** Dispatches one job at a time until the queue is empty; `arrive` may add jobs before each dispatch. */
function drain(
  queue: JobTicket[],
  arrive: (served: number) => JobTicket[] = () => [],
): JobTicket[] {
  const served: JobTicket[] = [];
  let rotation: string[] = [];
  let waiting = queue;
  for (;;) {
    waiting = [...waiting, ...arrive(served.length)];
    const pick = decideDispatch(
      { queue: waiting, rotation, slots: [{ worker: "w", free: 1 }], now: 0 },
      policy,
    );
    const [assigned] = pick.assignments;
    if (!assigned) return served;
    served.push(assigned.ticket);
    waiting = pick.queue;
    rotation = pick.rotation;
  }
}

describe("the order of dispatch", () => {
  it("delays one tenant's single job behind another's 10,000 by no more than two rounds", () => {
    const flood = Array.from({ length: 10_000 }, () => ticket("flood"));
    const pick = (queue: JobTicket[], rotation: string[]) =>
      pickFair(queue, { rotation, count: 1, now: 0 }, policy);
    const first = pick(flood, []);
    const rest = [...flood.slice(1), ticket("small")];
    const second = pick(rest, first.rotation);
    const third = pick(
      rest.filter((t) => !second.picked.includes(t)),
      second.rotation,
    );
    expect([...second.picked, ...third.picked].map((t) => t.tenant)).toContain("small");
  });

  it("serves a newcomer within two rounds over the waiting tenants, whatever floods and whenever it comes", () => {
    const floods = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(floods, fc.nat({ max: 60 }), (sizes, arrivesAt) => {
        const queue = sizes.flatMap((size, n) =>
          Array.from({ length: size }, () => ticket(`t${n}`)),
        );
        const at = Math.min(arrivesAt, queue.length - 1);
        const served = drain(queue, (count) => (count === at ? [ticket("newcomer")] : []));
        const delay = served.findIndex((t) => t.tenant === "newcomer") - at;
        expect(delay).toBeLessThan(2 * (sizes.length + 1));
      }),
    );
  });

  it("gives a tenant no second turn while another of its tier has had none since", () => {
    const tenants = fc.array(fc.constantFrom("a", "b", "c", "d"), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(tenants, (names) => {
        const served = drain(names.map((name) => ticket(name))).map((t) => t.tenant);
        const left = new Map<string, number>();
        for (const name of names) left.set(name, (left.get(name) ?? 0) + 1);
        while (served.length > 0) {
          const waiting = [...left].filter(([, count]) => count > 0).map(([name]) => name);
          const round = served.splice(0, waiting.length);
          expect(new Set(round)).toEqual(new Set(waiting));
          for (const name of round) left.set(name, (left.get(name) ?? 0) - 1);
        }
      }),
    );
  });

  it("keeps a user's jobs in order and dispatches each exactly once", () => {
    const entries = fc.array(
      fc.record({
        tenant: fc.constantFrom("a", "b", "c"),
        user: fc.constantFrom("x", "y"),
        tier: fc.constantFrom(...TIERS),
      }),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(entries, (all) => {
        const queue = all.map((entry) => ticket(entry.tenant, { ...entry, tier: "pro" }));
        const served = drain(queue);
        expect(new Set(served.map((t) => t.job_id)).size).toBe(queue.length);
        for (const { tenant, user } of queue) {
          const order = (list: JobTicket[]) =>
            list.filter((t) => t.tenant === tenant && t.user === user).map((t) => t.job_id);
          expect(order(served)).toEqual(order(queue));
        }
      }),
    );
  });

  it("prefers the higher tier at first, and the lower one once it has waited long enough", () => {
    const free = ticket("a", { tier: "free", queued_at: 0 });
    const pick = (now: number) => {
      const enterprise = ticket("b", { tier: "enterprise", queued_at: now });
      return pickFair([free, enterprise], { rotation: [], count: 1, now }, policy).picked[0]?.tier;
    };
    expect(pick(89_000)).toBe("enterprise");
    expect(pick(91_000)).toBe("free");
  });

  it("starves no tier: each one's oldest job beats any fresh job of any tier after the difference in priority", () => {
    const tier = fc.constantFrom<Tier>(...TIERS);
    fc.assert(
      fc.property(tier, tier, (low, high) => {
        const gap = policy.priorityOf(high) - policy.priorityOf(low);
        expect(agedPriority(low, (gap + 1) * 1_000, policy)).toBeGreaterThan(
          agedPriority(high, 0, policy),
        );
      }),
    );
  });

  it("spreads jobs over the emptiest workers and never over their slots", () => {
    const queue = Array.from({ length: 6 }, () => ticket("a"));
    const slots = [
      { worker: "w1", free: 1 },
      { worker: "w2", free: 3 },
    ];
    const { assignments, queue: left } = decideDispatch(
      { queue, rotation: [], slots, now: 0 },
      policy,
    );
    expect(assignments.map((a) => a.worker)).toEqual(["w2", "w2", "w1", "w2"]);
    expect(left).toHaveLength(2);
  });
});

describe("jobs that hold keys", () => {
  const keyed = (user: string) => ticket("acme", { user, keys: true, tier: "enterprise" });
  const dispatch = (queue: JobTicket[], slots: FreeSlots[], rotation: string[] = []) =>
    decideDispatch({ queue, rotation, slots, now: 0 }, policy);

  it("run beside jobs of their own user alone, wherever slots are free", () => {
    const user = fc.constantFrom("ann", "bob", "cyd");
    const job = fc.record({ user, keys: fc.boolean() });
    const jobs = fc.array(job, { maxLength: 3 });
    fc.assert(
      fc.property(
        fc.array(job, { maxLength: 12 }),
        fc.array(jobs, { maxLength: 4 }),
        (queue, held) => {
          const workers = held.map((running, at) => ({
            worker: `w${at}`,
            free: 4 - running.length,
            jobs: running.map((each) => ({ ...each, tenant: "acme" })),
          }));
          const waiting = queue.map((each) => ticket("acme", each));
          const { assignments, queue: left } = dispatch(waiting, workers);
          expect(left.length + assignments.length).toBe(waiting.length);
          for (const { ticket: placed, worker } of assignments) {
            const beside = [
              ...(workers.find((one) => one.worker === worker)?.jobs ?? []),
              ...assignments.filter((one) => one.worker === worker).map((one) => one.ticket),
            ];
            for (const other of beside) {
              const isSame = other.tenant === placed.tenant && other.user === placed.user;
              expect(isSame || !(placed.keys || other.keys)).toBe(true);
            }
          }
        },
      ),
    );
  });

  it("of a user who got a worker first do not keep it for good: who waits in front gets the next that is empty", () => {
    const ann = { tenant: "acme", user: "ann", keys: true };
    const queue = [keyed("bob"), keyed("ann"), keyed("ann")];
    const full = dispatch(queue, [{ worker: "w", free: 3, jobs: [ann] }]);
    expect(full.assignments).toEqual([]);
    expect(full.queue).toEqual(queue);
    const empty = dispatch(queue, [{ worker: "w", free: 4, jobs: [] }], full.rotation);
    expect(empty.assignments.map((one) => one.ticket)).toEqual([queue[0]]);
  });

  it("fill their user's own worker before they take an empty one from others", () => {
    const ann = { tenant: "acme", user: "ann", keys: true };
    const slots = [
      { worker: "empty", free: 4, jobs: [] },
      { worker: "ann's", free: 1, jobs: [ann] },
    ];
    const { assignments } = dispatch([keyed("ann"), keyed("ann")], slots);
    expect(assignments.map(({ worker }) => worker)).toEqual(["ann's", "empty"]);
  });
});

describe("decideRoom", () => {
  it("gives back the newest ticket of the tenant that holds most, so a flood keeps nobody out", () => {
    const queue = [ticket("flood"), ticket("flood"), ticket("small")];
    expect(decideRoom(queue, ticket("other"), 3)).toBe(queue[1]);
    const more = ticket("flood");
    expect(decideRoom(queue, more, 3)).toBe(more);
  });

  it("keeps everything while there is room, and a retried job always", () => {
    expect(decideRoom([], ticket("a"), 1)).toBeUndefined();
    expect(decideRoom([ticket("a")], ticket("a", { attempt: 2 }), 1)).toBeUndefined();
  });
});
