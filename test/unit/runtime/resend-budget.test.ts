/** C1, R7: what a client sends again after silences. */
import { describe, expect, test } from "vitest";
import { AskSending } from "../../../runtime/ask-sending.ts";
import { startRequestTimer } from "../../../runtime/request-timer.ts";
import { ResendBudget } from "../../../runtime/resend-budget.ts";
import { ManualClock } from "../../support/manual-clock.ts";

/** Asks that nobody answers, and what is sent again of them. */
function rig() {
  const clock = new ManualClock();
  const budget = new ResendBudget(clock);
  const sent: number[] = [];
  const ask = (timeoutMs: number) => {
    const options = { everyMs: 500, isReadOnly: false, budget };
    const { again } = new AskSending({ id: "ask" }, options);
    const resend = () => sent.push(clock.monotonic());
    return startRequestTimer(clock, { timeoutMs, again, resend, giveUp: () => {} });
  };
  return { clock, budget, sent, ask };
}

const second = async (clock: ManualClock) => {
  for (let n = 0; n < 10; n += 1) await clock.advance(100);
};

describe("an ask without an answer", () => {
  test("is sent again each half second until its time is over (C1)", async () => {
    const { clock, sent, ask } = rig();
    const from = clock.monotonic();
    ask(2_000);
    for (let n = 0; n < 3; n += 1) await second(clock);
    expect(sent.map((at) => at - from)).toEqual([500, 1_000, 1_500]);
  });

  test("is not sent again once it is answered", async () => {
    const { clock, sent, ask } = rig();
    const answered = ask(6_000);
    await second(clock);
    answered();
    expect(sent).toHaveLength(2);
    for (let n = 0; n < 9; n += 1) await second(clock);
    expect(sent).toHaveLength(2);
  });
});

describe("a crowd of asks without answers", () => {
  test("is sent again 500 times at once and 100 times a second, however many wait (R7)", async () => {
    const { clock, sent, ask } = rig();
    for (let n = 0; n < 5_000; n += 1) ask(60_000);
    await second(clock);
    const atOnce = sent.length;
    expect(atOnce).toBeGreaterThanOrEqual(500);
    expect(atOnce).toBeLessThanOrEqual(600);
    for (let n = 0; n < 10; n += 1) await second(clock);
    expect(sent.length - atOnce).toBeGreaterThanOrEqual(900);
    expect(sent.length - atOnce).toBeLessThanOrEqual(1_100);
  });

  test("may be sent again once more for ten that are answered", async () => {
    const { clock, budget, sent, ask } = rig();
    for (let n = 0; n < 5_000; n += 1) ask(60_000);
    await clock.advance(500);
    expect(sent).toHaveLength(500);
    for (let n = 0; n < 1_000; n += 1) budget.answered();
    await clock.advance(500);
    // A thousand answers, and half a second.
    expect(sent).toHaveLength(500 + 100 + 50);
  });
});
