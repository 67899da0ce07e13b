import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { partitionOf } from "../../../protocols/partition.ts";

describe("partitionOf", () => {
  it("is FNV-1a: known values stay what they are, or mail and records would be looked for elsewhere", () => {
    expect(partitionOf({ tenant: "", kind: "", key: "" }, 2 ** 32)).toBe(0x811c9dc5);
    expect(partitionOf({ tenant: "a", kind: "", key: "" }, 2 ** 32)).toBe(0xe40c292c);
    expect(partitionOf({ tenant: "f", kind: "oo", key: "bar" }, 2 ** 32)).toBe(0xbf9cf968);
  });

  it("is in range and the same every time", () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 1, max: 256 }), (key, count) => {
        const ref = { tenant: "acme", kind: "user", key };
        const p = partitionOf(ref, count);
        expect(p).toBeGreaterThanOrEqual(0);
        expect(p).toBeLessThan(count);
        expect(partitionOf(ref, count)).toBe(p);
      }),
    );
  });

  it("spreads users over the partitions within a fifth of even", () => {
    const counts = Array.from({ length: 16 }, () => 0);
    for (let user = 0; user < 16_000; user += 1) {
      counts[partitionOf({ tenant: "acme", kind: "user", key: `u${user}` }, 16)]! += 1;
    }
    for (const count of counts) expect(Math.abs(count - 1_000)).toBeLessThan(200);
  });
});
