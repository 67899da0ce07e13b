/** Capacity under any order of requests, ends of starts and releases: who is admitted, when, and in which order. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { capacityActor } from "../../../actors/capacity/capacity.ts";
import { actorOptions } from "../../../actors/options.ts";
import { PLATFORM_TENANT } from "../../../protocols/ids.ts";
import { tierTable } from "../../../protocols/tiers.ts";
import { turnRig } from "../../support/turn.ts";

const MAX_WORKERS = 12;
const MAX_STARTS = 3;
const options = actorOptions({
  tiers: tierTable(),
  capacity: { maxWorkers: MAX_WORKERS, maxStarts: MAX_STARTS, startTimeoutMs: 600_000 },
});

/** Capacity, and what a supervisor knows of its answers. */
class Gate {
  readonly waiting: { worker: string; tenant: string }[] = [];
  readonly starting = new Set<string>();
  readonly running = new Set<string>();
  readonly granted: { worker: string; tenant: string }[] = [];
  readonly #rig = turnRig(capacityActor(options), {
    kind: "capacity",
    tenant: PLATFORM_TENANT,
    key: "main",
  });
  #count = 0;

  acquire(tenant: string): void {
    this.#count += 1;
    const worker = `w${this.#count}`;
    this.waiting.push({ worker, tenant });
    this.#turn("acquire", { worker, tier: "pro", tenant, user: "" });
  }

  settle(nth: number): void {
    const worker = pick([...this.starting], nth);
    if (worker === undefined) return;
    this.starting.delete(worker);
    this.running.add(worker);
    this.#turn("settled", { worker });
  }

  /** A start that failed, or a worker that ended. */
  release(nth: number): void {
    const worker = pick([...this.starting, ...this.running], nth);
    if (worker === undefined) return;
    this.starting.delete(worker);
    this.running.delete(worker);
    this.#turn("release", { worker });
  }

  #turn(type: string, input: object): void {
    this.#rig.now += 1;
    for (const { to, payload } of this.#rig.turn(type, input).tells) {
      const worker = String(payload["worker"]);
      const at = this.waiting.findIndex((one) => one.worker === worker);
      expect(at, `${worker} waits when it is granted`).toBeGreaterThanOrEqual(0);
      const [entry] = this.waiting.splice(at, 1);
      if (!entry) continue;
      expect(to).toBe(`${entry.tenant}/supervisor/main`);
      this.granted.push(entry);
      this.starting.add(worker);
    }
    expect(this.starting.size).toBeLessThanOrEqual(MAX_STARTS);
    expect(this.starting.size + this.running.size).toBeLessThanOrEqual(MAX_WORKERS);
  }
}

function pick<T>(items: readonly T[], nth: number): T | undefined {
  return items[nth % Math.max(1, items.length)];
}

const step = fc.oneof(
  fc.record({ do: fc.constant("acquire" as const), tenant: fc.constantFrom("a", "b", "c") }),
  fc.record({ do: fc.constantFrom("settle" as const, "release" as const), nth: fc.nat() }),
);

function take(
  gate: Gate,
  steps: readonly (typeof step extends fc.Arbitrary<infer S> ? S : never)[],
) {
  for (const one of steps) {
    if (one.do === "acquire") gate.acquire(one.tenant);
    else if (one.do === "settle") gate.settle(one.nth);
    else gate.release(one.nth);
  }
}

describe("the platform's gate for starts", () => {
  it("keeps both bounds, grants each worker once, and each tenant's in the order in which they came", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const gate = new Gate();
        take(gate, steps);
        const came = steps.flatMap((one) => (one.do === "acquire" ? [one.tenant] : []));
        const byTenant = (tenant: string) =>
          gate.granted.filter((one) => one.tenant === tenant).map(({ worker }) => worker);
        for (const tenant of new Set(came)) {
          const asked = came.flatMap((one, n) => (one === tenant ? [`w${n + 1}`] : []));
          expect(byTenant(tenant)).toEqual(asked.slice(0, byTenant(tenant).length));
        }
      }),
    );
  });

  it("lets nobody wait while there is room, and everybody in as soon as the others have ended", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const gate = new Gate();
        take(gate, steps);
        const hasRoom =
          gate.starting.size < MAX_STARTS && gate.starting.size + gate.running.size < MAX_WORKERS;
        if (hasRoom) expect(gate.waiting).toEqual([]);
        while (gate.waiting.length > 0) gate.release(0);
        expect(new Set(gate.granted.map(({ worker }) => worker)).size).toBe(gate.granted.length);
      }),
    );
  });

  it("admits a burst of 50 of one tenant in order, and another's single one within two rounds", () => {
    const gate = new Gate();
    for (let n = 0; n < 50; n += 1) gate.acquire("burst");
    gate.acquire("small");
    const before = gate.granted.length;
    while (gate.waiting.length > 0) gate.release(0);
    const order = gate.granted.slice(before).map(({ tenant }) => tenant);
    expect(order.indexOf("small")).toBeLessThan(2);
    const burst = gate.granted.filter(({ tenant }) => tenant === "burst");
    expect(burst.map(({ worker }) => worker)).toEqual(
      Array.from({ length: 50 }, (_, n) => `w${n + 1}`),
    );
  });
});
