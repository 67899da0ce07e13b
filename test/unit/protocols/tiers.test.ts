import { describe, expect, it } from "vitest";
import { PLACES } from "../../../protocols/actors/place.ts";
import { DEFAULT_TIERS, TIERS, tierTable } from "../../../protocols/tiers.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const GIB = 1024 ** 3;

describe("the tier table", () => {
  it("promises what was promised: jobs at once, per hour, and how long one may run", () => {
    const rows = TIERS.map((tier) => {
      const limits = DEFAULT_TIERS[tier];
      return [limits.concurrentJobs, limits.jobsPerHour, limits.jobTimeoutMs, limits.priority];
    });
    expect(rows).toEqual([
      [1, 10, 5 * MINUTE, 10],
      [3, 100, 30 * MINUTE, 50],
      [null, 1_000, null, 100],
    ]);
  });

  it("keeps workspaces, sessions and idle workers as long as was promised", () => {
    const rows = TIERS.map((tier) => {
      const limits = DEFAULT_TIERS[tier];
      return [
        limits.workspace,
        limits.workspaceKeptMs,
        limits.sessionResumeMs,
        limits.idleTimeoutMs,
      ];
    });
    expect(rows).toEqual([
      ["job", 0, HOUR, null],
      ["user", DAY, 7 * DAY, 15 * MINUTE],
      ["tenant", null, 30 * DAY, null],
    ]);
  });

  it("gives each tier its CPU, memory and storage", () => {
    const rows = TIERS.map((tier) => {
      const limits = DEFAULT_TIERS[tier];
      return [limits.cpus, limits.memoryBytes, limits.storageBytes];
    });
    expect(rows).toEqual([
      [0.5, GIB / 2, GIB],
      [2, 2 * GIB, 10 * GIB],
      [4, 8 * GIB, 100 * GIB],
    ]);
  });

  it("has between five and ten shared workers, one per pro user, and names places that exist", () => {
    expect([DEFAULT_TIERS.free.minWorkers, DEFAULT_TIERS.free.maxWorkers]).toEqual([5, 10]);
    expect([DEFAULT_TIERS.pro.minWorkers, DEFAULT_TIERS.pro.maxWorkers]).toEqual([0, 1]);
    for (const tier of TIERS) expect(PLACES).toHaveProperty(DEFAULT_TIERS[tier].place);
  });

  it("an override changes its field of its tier and leaves the rest", () => {
    const table = tierTable({ pro: { idleTimeoutMs: 1_000 } });
    expect(table.pro).toEqual({ ...DEFAULT_TIERS.pro, idleTimeoutMs: 1_000 });
    expect(table.free).toEqual(DEFAULT_TIERS.free);
    expect(Object.isFrozen(table)).toBe(true);
    expect(DEFAULT_TIERS.pro.idleTimeoutMs).toBe(15 * MINUTE);
  });

  it.each([{ jobsPerHour: 0 }, { concurrentJobs: 1.5 }, { jobTimeoutMs: -1 }, { cpus: 0 }])(
    "%j is refused",
    (override) => {
      expect(() => tierTable({ free: override })).toThrow();
    },
  );
});
