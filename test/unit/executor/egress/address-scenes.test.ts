import { BlockList } from "node:net";
import { expect, test, vi } from "vitest";
import { classOf } from "../../../../executor/egress/address-class.ts";
import { addressScenes } from "../../../../executor/egress/address-scenes.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

test("the host's addresses are read once a second, and the workers' ranges once and for all", async () => {
  const clock = new ManualClock();
  let [reads, host] = [0, "203.0.113.5"];
  const own = () => {
    reads += 1;
    return [host];
  };
  const scenes = addressScenes({ workers: ["10.212.0.0/14"], own, clock });
  const ranges = vi.spyOn(BlockList.prototype, "addSubnet");
  try {
    const judged = () =>
      ["203.0.113.5", "203.0.113.6", "10.213.0.1"].map((address) => classOf(address, scenes()));
    expect(judged()).toEqual(["private", "public", "never"]);
    host = "203.0.113.6";
    await clock.advance(999);
    expect(judged()).toEqual(["private", "public", "never"]);
    expect(reads).toBe(1);
    await clock.advance(1);
    expect(judged()).toEqual(["public", "private", "never"]);
    expect(reads).toBe(2);
    expect(ranges).not.toHaveBeenCalled();
  } finally {
    ranges.mockRestore();
  }
});
