import { describe, expect, it } from "vitest";
import { Ledger } from "../../../bench/ledger.ts";

function used(): Ledger {
  const ledger = new Ledger();
  ledger.counted(1, true);
  ledger.counted(2, true);
  ledger.countUnknown();
  ledger.entered();
  ledger.enterUnknown();
  return ledger;
}

const totals = (counted: number, entered: number) => ({ counted, entered });

describe("a ledger", () => {
  it.each([
    ["nothing of what is unknown was stored", totals(2, 1)],
    ["all of what is unknown was stored", totals(3, 2)],
  ])("takes totals when %s", (_name, own) => {
    expect(used().judge(own, totals(0, own.entered))).toEqual([]);
  });

  it.each([
    ["R3", "a count that was acknowledged and is missing", totals(1, 1), 1],
    ["R3", "a count too many", totals(4, 1), 1],
    ["R2", "an entry that was acknowledged and is missing", totals(2, 0), 0],
    ["R3", "an entry handled twice", totals(2, 3), 3],
    ["R2", "an entry of which the mirror never heard", totals(2, 1), 0],
    ["R3", "an entry of which the mirror heard twice", totals(2, 1), 2],
  ])("sees %s broken by %s", (rule, _name, own, mirrored) => {
    const broken = used().judge(own, totals(0, mirrored));
    expect(broken).toHaveLength(1);
    expect(broken[0]).toContain(rule);
  });

  it("sees R1 broken when answers in order do not grow", () => {
    const ledger = used();
    ledger.counted(2, true);
    expect(ledger.judge(totals(3, 1), totals(0, 1))).toEqual(["R1: counted 2 after 2"]);
  });

  it("does not ask of calls side by side that their answers come in order", () => {
    const ledger = used();
    ledger.counted(1, false);
    expect(ledger.judge(totals(3, 1), totals(0, 1))).toEqual([]);
  });

  it("is complete when every acknowledged entry has reached the actor and its mirror", () => {
    const ledger = used();
    expect(ledger.isComplete(totals(2, 0), totals(0, 0))).toBe(false);
    expect(ledger.isComplete(totals(2, 1), totals(0, 0))).toBe(false);
    expect(ledger.isComplete(totals(2, 1), totals(0, 1))).toBe(true);
  });
});
