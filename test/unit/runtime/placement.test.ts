/** R8: partitions are spread evenly, alike by everyone, and few of them move when nodes come and go. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decideHomes } from "../../../runtime/placement.ts";

const names = (min: number) =>
  fc.uniqueArray(fc.stringMatching(/^[a-z0-9]{1,8}$/), { minLength: min, maxLength: 9 });
const counts = fc.constantFrom(1, 8, 16, 32, 64);

function moved(before: readonly string[], after: readonly string[]): number {
  return before.filter((home, partition) => home !== after[partition]).length;
}

describe("placement", () => {
  test("gives every partition a home, the same whatever order the nodes are seen in", () => {
    fc.assert(
      fc.property(names(1), counts, (nodes, partitions) => {
        const homes = decideHomes(partitions, nodes);
        expect(homes).toHaveLength(partitions);
        for (const home of homes) expect(nodes).toContain(home);
        expect(decideHomes(partitions, nodes.toReversed())).toEqual(homes);
      }),
    );
    expect(decideHomes(16, [])).toEqual([]);
  });

  test("gives no node more than the even share, rounded up", () => {
    fc.assert(
      fc.property(names(1), counts, (nodes, partitions) => {
        const homes = decideHomes(partitions, nodes);
        const share = Math.ceil(partitions / nodes.length);
        for (const node of nodes)
          expect(homes.filter((home) => home === node).length).toBeLessThanOrEqual(share);
      }),
    );
  });

  test("gives a node that joins its share and moves fewer than half of the others, whatever the names; leaving is the same backwards", () => {
    fc.assert(
      fc.property(names(2), fc.constantFrom(16, 32, 64), ([joins = "", ...nodes], partitions) => {
        const before = decideHomes(partitions, nodes);
        const after = decideHomes(partitions, [...nodes, joins]);
        const taken = after.filter((home) => home === joins).length;
        expect(taken).toBeLessThanOrEqual(Math.ceil(partitions / (nodes.length + 1)));
        expect(moved(before, after) - taken).toBeLessThanOrEqual(partitions / 2);
      }),
    );
  });

  test("moves 1/(N+1) of the partitions on average, and at most a tenth of them more", () => {
    for (const partitions of [16, 32, 64]) {
      for (const size of [1, 2, 3, 5, 8]) {
        let total = 0;
        const runs = 200;
        for (let run = 0; run < runs; run += 1) {
          const nodes = Array.from({ length: size }, (_, n) => `node-${run}-${n}`);
          const before = decideHomes(partitions, nodes);
          total += moved(before, decideHomes(partitions, [...nodes, `node-${run}-new`]));
        }
        const share = total / runs / partitions;
        expect(share).toBeLessThan(1 / (size + 1) + 0.1);
        expect(share).toBeGreaterThan(1 / (size + 1) - 0.05);
      }
    }
  });
});
