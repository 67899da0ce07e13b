import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatDuration, parseDuration } from "../../../protocols/duration.ts";

describe("durations", () => {
  it.each([
    ["250ms", 250],
    ["1s", 1_000],
    ["15m", 900_000],
    ["1.5h", 5_400_000],
    ["7d", 604_800_000],
    ["0s", 0],
  ])("%s is %i ms", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(["", "15", "m", "-1s", "1 s", "1sec", "1e3s", "1h30m", "NaNs", "Infinitys", " 1s"])(
    "%j is refused, not guessed",
    (text) => {
      expect(() => parseDuration(text)).toThrow(
        expect.objectContaining({ code: "config.invalid" }),
      );
    },
  );

  it("what is formatted parses to the same length", () => {
    fc.assert(
      fc.property(fc.nat(10_000_000_000), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBe(ms);
      }),
    );
  });

  it("the largest unit that is exact is taken", () => {
    expect(formatDuration(900_000)).toBe("15m");
    expect(formatDuration(90_000)).toBe("90s");
    expect(formatDuration(86_400_000)).toBe("1d");
    expect(formatDuration(0)).toBe("0ms");
  });
});
