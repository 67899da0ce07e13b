import { describe, expect, test } from "vitest";
import { ConnectionShares } from "../../../../executor/egress/connection-shares.ts";

/** Takes as many as it gets, up to `most`; how many. */
function takeAll(shares: ConnectionShares, owner: string, most = 10_000): number {
  let taken = 0;
  while (taken < most && shares.tryTake(owner)) taken += 1;
  return taken;
}

describe("the shares of the proxy's connections", () => {
  test("leave half to the others when one tenant's workers take all they can", () => {
    const shares = new ConnectionShares(4_096);
    expect(takeAll(shares, "greedy", 32 * 128)).toBe(2_048);
    expect(takeAll(shares, "second", 128)).toBe(128);
    expect(shares.tryTake("greedy")).toBe(false);
  });

  test("leave a worker its full number also when three tenants take all they can", () => {
    const shares = new ConnectionShares(4_096);
    expect(["a", "b", "c"].map((owner) => takeAll(shares, owner))).toEqual([2_048, 1_024, 512]);
    expect(takeAll(shares, "d", 128)).toBe(128);
  });

  test("are as they were when all is given back", () => {
    const shares = new ConnectionShares(10);
    for (const owner of ["a", "b"]) {
      const taken = takeAll(shares, owner);
      expect(taken).toBe(5);
      for (let n = 0; n < taken; n += 1) shares.giveBack(owner);
      expect(shares.taken).toBe(0);
    }
    expect(takeAll(new ConnectionShares(0), "a")).toBe(0);
    expect(takeAll(new ConnectionShares(1), "a")).toBe(1);
  });
});
