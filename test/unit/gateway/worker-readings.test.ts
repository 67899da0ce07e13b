/** Readings of hosts: shared by all who look, and turned into rates. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CpuRates, decideRate } from "../../../gateway/cpu-rates.ts";
import { SharedAnswers } from "../../../gateway/shared-answers.ts";
import { type Deferred, deferred } from "../../support/deferred.ts";
import { ManualClock } from "../../support/manual-clock.ts";

describe("the CPU that a worker uses", () => {
  it.each([
    ["nothing before", undefined, { at: 10, cpuMs: 5 }, null],
    ["half a CPU", { at: 0, cpuMs: 100 }, { at: 1_000, cpuMs: 600 }, 0.5],
    ["three CPUs", { at: 0, cpuMs: 0 }, { at: 2_000, cpuMs: 6_000 }, 3],
    ["none", { at: 0, cpuMs: 100 }, { at: 1_000, cpuMs: 100 }, 0],
    ["the same reading again", { at: 5, cpuMs: 1 }, { at: 5, cpuMs: 1 }, null],
    ["a clock set back", { at: 9_000, cpuMs: 1 }, { at: 5, cpuMs: 2 }, null],
    [
      "processes that ended with what they had used",
      { at: 0, cpuMs: 9 },
      { at: 9, cpuMs: 1 },
      null,
    ],
    ["a reading of long ago", { at: 0, cpuMs: 0 }, { at: 60_001, cpuMs: 60_001 }, null],
  ])("%s", (_, before, now, rate) => {
    expect(decideRate(before, now)).toBe(rate);
  });

  it("is never negative and never more than was used", () => {
    const reading = fc.record({ at: fc.nat(100_000), cpuMs: fc.nat(1_000_000) });
    fc.assert(
      fc.property(reading, reading, (before, now) => {
        const rate = decideRate(before, now);
        if (rate === null) return true;
        return (
          rate >= 0 && rate * (now.at - before.at) <= now.cpuMs - before.cpuMs + now.at / 1_000
        );
      }),
    );
  });

  it("is told of the newest pair of readings, for a bounded number of workers", () => {
    const rates = new CpuRates(2);
    rates.note("a", { at: 0, cpuMs: 0 });
    expect(rates.of("a")).toBeNull();
    rates.note("a", { at: 1_000, cpuMs: 250 });
    rates.note("a", { at: 2_000, cpuMs: 1_000 });
    expect(rates.of("a")).toBe(0.75);
    rates.note("b", { at: 2_000, cpuMs: 0 });
    rates.note("c", { at: 2_000, cpuMs: 0 });
    expect(rates.of("a")).toBeNull();
  });
});

describe("an answer that many want", () => {
  const asking = () => {
    const clock = new ManualClock();
    const asked: Deferred<string | Error>[] = [];
    const answers = new SharedAnswers<string>({
      clock,
      freshMs: 1_000,
      ask: async () => {
        const answer = deferred<string | Error>();
        asked.push(answer);
        const told = await answer.promise;
        if (told instanceof Error) throw told;
        return told;
      },
    });
    return { clock, asked, answers };
  };

  it("is asked for once while it is under way, however long that takes (S1)", async () => {
    const { answers, asked, clock } = asking();
    const first = answers.get("n1");
    await clock.advance(5_000);
    const second = answers.get("n1");
    asked[0]?.resolve("told");
    expect([await first, await second, asked.length]).toEqual(["told", "told", 1]);
  });

  it("is everybody's for a moment, its failure too, and then asked for again (S2)", async () => {
    const { answers, asked, clock } = asking();
    const failing = answers.get("n1");
    asked[0]?.resolve(new Error("away"));
    await expect(failing).rejects.toThrow("away");
    await clock.advance(999);
    await expect(answers.get("n1")).rejects.toThrow("away");
    await clock.advance(1);
    const again = answers.get("n1");
    asked[1]?.resolve("back");
    expect(await again).toBe("back");
  });

  it("is forgotten when nobody asks for it any more (S3)", async () => {
    const { answers, asked, clock } = asking();
    for (let n = 0; n < 100; n += 1) void answers.get(`n${n}`);
    for (const answer of asked) answer.resolve("x");
    await clock.advance(2_000);
    void answers.get("other");
    expect(answers.size).toBe(1);
  });
});
