import { describe, expect, it, vi } from "vitest";
import { systemClock } from "../../../runtime/clock.ts";
import { eventually } from "../../support/eventually.ts";
import { ManualClock } from "../../support/manual-clock.ts";

describe("system clock", () => {
  it("waits for longer than a timer of the platform can", () => {
    vi.useFakeTimers();
    try {
      const fn = vi.fn();
      const month = 30 * 86_400_000;
      systemClock.after(month, fn);
      const cancel = systemClock.after(month, () => fn("cancelled"));
      vi.advanceTimersByTime(month - 1);
      expect(fn).not.toHaveBeenCalled();
      cancel();
      vi.advanceTimersByTime(1);
      expect(fn.mock.calls).toEqual([[]]);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("manual clock", () => {
  it("runs timers by their time, not in the order they were set", async () => {
    const clock = new ManualClock(0);
    const seen: string[] = [];
    clock.after(20, () => seen.push(`late at ${clock.now()}`));
    clock.after(10, () => seen.push(`early at ${clock.now()}`));
    clock.after(10, () => seen.push("second of the same time"));
    await clock.advance(30);
    expect(seen).toEqual(["early at 10", "second of the same time", "late at 20"]);
    expect(clock.now()).toBe(30);
  });

  it("runs what a timer sets on the way, and nothing past the target", async () => {
    const clock = new ManualClock(0);
    const seen: number[] = [];
    const loop = async () => {
      for (;;) {
        await clock.sleep(10);
        seen.push(clock.monotonic());
      }
    };
    void loop();
    await clock.advance(35);
    expect(seen).toEqual([10, 20, 30]);
    expect(clock.pending).toBe(1);
  });

  it("ends a sleep at once when its signal aborts and forgets its timer", async () => {
    const clock = new ManualClock();
    const stop = new AbortController();
    const sleeping = clock.sleep(60_000, stop.signal);
    stop.abort();
    await sleeping;
    expect(clock.pending).toBe(0);
  });
});

describe("eventually", () => {
  it("gives what the condition gave once it stops throwing", async () => {
    let tries = 0;
    const value = await eventually(
      () => {
        tries += 1;
        if (tries < 3) throw new Error("not yet");
        return tries;
      },
      { name: "the third try" },
    );
    expect(value).toBe(3);
  });

  it("fails with the name and the last error", async () => {
    const waiting = eventually(() => Promise.reject(new Error("still cold")), {
      name: "the kettle boils",
      within: 30,
    });
    await expect(waiting).rejects.toThrow("not within 30 ms: the kettle boils (still cold)");
  });

  it("bounds a condition that never settles", async () => {
    const waiting = eventually(() => new Promise<boolean>(() => {}), {
      name: "for ever",
      within: 30,
    });
    await expect(waiting).rejects.toThrow(/it did not settle/);
  });
});
