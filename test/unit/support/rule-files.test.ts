import { describe, expect, it } from "vitest";
import { withShortWaits } from "../../support/rule-files.ts";

const rule = (wait: string) =>
  `      - alert: Late\n        expr: rate(berth_jobs_total[5m]) > 0\n        for: ${wait}\n`;

describe("rules with short waits", () => {
  it("wait seconds instead of minutes, and read what they have read", () => {
    expect(withShortWaits(rule("10m"))).toBe(rule("10s"));
  });

  it("are refused where a wait would stay as it is, or there is none", () => {
    expect(() => withShortWaits(rule("1m") + rule("1h"))).toThrow("for: 1h");
    expect(() => withShortWaits("      - alert: Soon\n")).toThrow("none");
  });
});
