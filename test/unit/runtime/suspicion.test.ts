/** R8: when a node is sure that another's process is gone. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { NodeRecord } from "../../../protocols/records.ts";
import {
  decideProbed,
  decideSuspicion,
  type Finding,
  graceMs,
  type Suspicion,
  TRUSTED,
} from "../../../runtime/suspicion.ts";

const judged = (findings: readonly (readonly [Finding, number])[], evictions = 0): Suspicion =>
  findings.reduce<Suspicion>(
    (suspicion, [finding, now]) => decideSuspicion(suspicion, finding, { now, evictions }),
    TRUSTED,
  );

describe("a suspicion", () => {
  test("becomes certainty after three misses and the grace, not by one of the two", () => {
    expect(judged([["gone", 0]])).toEqual({ state: "suspected", since: 0, misses: 1 });
    const quick = [["gone", 0] as const, ["gone", 100] as const, ["gone", 200] as const];
    expect(judged(quick).state).toBe("suspected");
    expect(judged([...quick, ["gone", graceMs(0) - 1]]).state).toBe("suspected");
    expect(judged([...quick, ["gone", graceMs(0)]]).state).toBe("condemned");
    const two = [["gone", 0] as const, ["gone", 60_000] as const];
    expect(judged(two).state).toBe("suspected");
  });

  test("waits longer for a node that was condemned before and came back, within a bound", () => {
    expect(graceMs(1)).toBe(2 * graceMs(0));
    expect(graceMs(50)).toBe(graceMs(4));
    const misses = [0, 100, graceMs(0)].map((at) => ["gone", at] as const);
    expect(judged(misses, 1).state).toBe("suspected");
    expect(judged([...misses, ["gone", graceMs(1)]], 1).state).toBe("condemned");
  });

  test("never condemns within the grace of anything else than a miss", () => {
    const finding = fc.constantFrom<Finding>("answered", "silent", "gone", "renewed", "blind");
    const looks = fc.array(fc.tuple(finding, fc.integer({ min: 1, max: 600 })), { maxLength: 60 });
    fc.assert(
      fc.property(looks, (steps) => {
        let suspicion: Suspicion = TRUSTED;
        let now = 0;
        let heardAt = 0;
        for (const [seen, pause] of steps) {
          now += pause;
          suspicion = decideSuspicion(suspicion, seen, { now, evictions: 0 });
          if (seen !== "gone") {
            heardAt = now;
            expect(suspicion).toEqual(TRUSTED);
          }
          if (suspicion.state === "condemned")
            expect(now - heardAt).toBeGreaterThanOrEqual(graceMs(0));
        }
      }),
    );
  });
});

describe("the ring of probes", () => {
  const node = (id: string, evictions: number | undefined = 0): NodeRecord => ({
    ...{ id, incarnation: "1", version: "0", started_at: 0, draining: false },
    ...{ drivers: [], kinds: [], ...(evictions === undefined ? {} : { evictions }) },
  });
  const idsOf = (nodes: readonly NodeRecord[]) => nodes.map(({ id }) => id);

  test("goes round, without oneself, and leaves out builds that answer no probes", () => {
    const all = ["d", "b", "a", "c"].map((id) => node(id));
    expect(idsOf(decideProbed("b", all))).toEqual(["c", "d"]);
    expect(idsOf(decideProbed("d", all))).toEqual(["a", "b"]);
    expect(idsOf(decideProbed("a", [node("a"), node("b")]))).toEqual(["b"]);
    expect(decideProbed("a", [node("a")])).toEqual([]);
    const { evictions: _, ...old } = node("c");
    expect(idsOf(decideProbed("b", [node("a"), old, node("d")]))).toEqual(["d", "a"]);
  });

  test("has every node probed by others, whatever the ids, at a bounded cost", () => {
    const ids = fc.uniqueArray(fc.stringMatching(/^[a-z0-9]{1,8}$/), {
      minLength: 2,
      maxLength: 12,
    });
    fc.assert(
      fc.property(ids, (names) => {
        const all = names.map((id) => node(id));
        const probes = names.flatMap((id) => idsOf(decideProbed(id, all)));
        expect(probes.length).toBeLessThanOrEqual(2 * names.length);
        expect(new Set(probes)).toEqual(new Set(names));
      }),
    );
  });
});
