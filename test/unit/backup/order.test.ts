import { describe, expect, it } from "vitest";
import { decideRestoring, decideSaving } from "../../../deploy/backup/order.ts";
import { BUCKETS, STREAMS } from "../../../protocols/subjects.ts";

const ALL = [...Object.values(STREAMS), ...Object.values(BUCKETS).map((name) => `KV_${name}`)];

describe("the order of a backup", () => {
  it("saves mail before what it speaks of, the journal when actors go on already, the trail last, and leases never", () => {
    const { after, still } = decideSaving(ALL);
    expect(still.slice(0, 2)).toEqual(["BERTH_MAIL", "BERTH_REMINDERS"]);
    expect(after).toEqual(["BERTH_JOURNAL", "BERTH_AUDIT"]);
    expect([...still, ...after, "KV_berth-nodes"].toSorted()).toEqual(ALL.toSorted());
  });

  it("keeps what this build does not know", () => {
    expect(decideSaving(["BERTH_FUTURE", "KV_berth-later"]).still).toEqual([
      "BERTH_FUTURE",
      "KV_berth-later",
    ]);
  });

  it("restores claims first, and last what nodes and gateways look for", () => {
    const order = decideRestoring(ALL);
    expect(order[0]).toBe("KV_berth-partitions");
    expect(order.slice(-2)).toEqual(["BERTH_MAIL", "BERTH_JOURNAL"]);
    expect(order.toSorted()).toEqual(ALL.toSorted());
  });
});
