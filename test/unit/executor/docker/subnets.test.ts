import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  checkRange,
  decideSubnet,
  gatewayOf,
  OWN_PREFIX,
  SHARED_PREFIX,
  tryReadClash,
} from "../../../../executor/drivers/docker/subnets.ts";

const RANGE = "10.212.0.0/16";

/** First and last address, by another way than the code's. */
function boundsOf(cidr: string): readonly [number, number] {
  const [address = "", prefix = "32"] = cidr.split("/");
  const number = Buffer.from(address.split(".").map(Number)).readUInt32BE();
  const hosts = Number(prefix) === 32 ? 0 : (0xffffffff >>> Number(prefix)) >>> 0;
  const first = (number & ~hosts) >>> 0;
  return [first, first + hosts];
}

function overlap(a: string, b: string): boolean {
  const [[a1, a2], [b1, b2]] = [boundsOf(a), boundsOf(b)];
  return a1 <= b2 && b1 <= a2;
}

const block = (prefixes: { min: number; max: number }) =>
  fc
    .tuple(fc.nat(0xffff), fc.integer(prefixes))
    .map(([n, prefix]) => `10.212.${n >> 8}.${n & 255}/${prefix}`);

describe("the choice of a subnet", () => {
  test("lies in the range and overlaps nothing that is taken, wherever the search begins", () => {
    const taken = fc.array(block({ min: 18, max: 32 }), { maxLength: 40 });
    const prefix = fc.constantFrom(SHARED_PREFIX, OWN_PREFIX);
    fc.assert(
      fc.property(taken, prefix, fc.nat(2 ** 32 - 1), (others, size, seed) => {
        const chosen = decideSubnet(RANGE, size, { taken: others, seed });
        if (chosen === undefined) return;
        expect(chosen.endsWith(`/${size}`)).toBe(true);
        expect(overlap(chosen, RANGE)).toBe(true);
        expect(others.filter((other) => overlap(chosen, other))).toEqual([]);
        expect(boundsOf(chosen)[0]).toBe(boundsOf(gatewayOf(chosen))[0] - 1);
      }),
    );
  });

  test("fills a range to its last block, and then there is none", () => {
    const taken: string[] = [];
    for (let i = 0; i < 32; i += 1) {
      const chosen = decideSubnet("10.212.4.0/22", OWN_PREFIX, { taken, seed: 7 * i });
      taken.push(chosen ?? "none");
    }
    expect(new Set(taken).size).toBe(32);
    expect(taken).not.toContain("none");
    expect(decideSubnet("10.212.4.0/22", OWN_PREFIX, { taken, seed: 1 })).toBeUndefined();
  });

  test("keeps room for a shared network among a thousand small ones that begin anywhere", () => {
    const taken: string[] = [];
    for (let i = 0; i < 1_000; i += 1) {
      const seed = Math.imul(i, 2_654_435_761) >>> 0;
      taken.push(decideSubnet(RANGE, OWN_PREFIX, { taken, seed }) ?? "none");
    }
    expect(taken).not.toContain("none");
    expect(decideSubnet(RANGE, SHARED_PREFIX, { taken, seed: 3 })).toBeDefined();
  });

  test("is the same for the same seed and moves with another", () => {
    const at = (seed: number) => decideSubnet(RANGE, OWN_PREFIX, { taken: [], seed });
    expect(at(1_234)).toBe(at(1_234));
    expect(at(1_234)).not.toBe(at(1_235));
  });

  test("goes around a host's own address, and does not mind IPv6", () => {
    const taken = ["10.212.0.9/24", "fd00::2/64", "::1/128"];
    expect(decideSubnet("10.212.0.0/23", 24, { taken, seed: 0 })).toBe("10.212.1.0/24");
    expect(decideSubnet("10.212.0.0/24", 24, { taken, seed: 0 })).toBeUndefined();
  });
});

test("a range that holds no more than the shared network, or is none, is refused at once", () => {
  checkRange("10.212.0.0/14");
  checkRange("10.212.0.0/21");
  for (const range of [
    "10.212.0.0/22",
    "10.212.0.0/27",
    "10.212.0.0",
    "fd00::/48",
    "10.300.0.0/14",
  ])
    expect(() => checkRange(range)).toThrow(range);
});

test("the engine's refusals are told apart from other failures", () => {
  const overlaps =
    "(HTTP code 403) unexpected - Pool overlaps with other one on this address space";
  expect(tryReadClash(403, overlaps)).toBe("subnet");
  expect(tryReadClash(500, `failed: invalid pool request: ${overlaps}`)).toBe("subnet");
  expect(
    tryReadClash(403, "conflicts with network 2191 (bth1): networks have overlapping IPv4"),
  ).toBe("subnet");
  expect(tryReadClash(403, "conflicts with network 2191 (b): networks have same bridge name")).toBe(
    "bridge",
  );
  expect(tryReadClash(409, "network with name berth-x already exists")).toBe("name");
  expect(tryReadClash(500, "permission denied")).toBeUndefined();
  expect(tryReadClash(undefined, "connect ENOENT: Pool overlaps")).toBeUndefined();
});
