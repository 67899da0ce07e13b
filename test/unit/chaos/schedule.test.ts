import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseOptions } from "../../chaos/options.ts";
import { decideSchedule, FAULTS, type Fault, SERVER_FAULTS } from "../../chaos/schedule.ts";

const MINUTE_MS = 60_000;
const isServerFault = ({ kind }: Fault) => (SERVER_FAULTS as readonly string[]).includes(kind);
const endOf = ({ atMs, forMs }: Fault) => atMs + forMs;
const everySeed = (check: (faults: Fault[]) => void) =>
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 31 }), (seed) =>
      check(decideSchedule({ seed, forMs: 5 * MINUTE_MS })),
    ),
    { numRuns: 200 },
  );

describe("a schedule of faults", () => {
  test("is the same for the same seed, and another for another", () => {
    const of = (seed: number) => decideSchedule({ seed, forMs: MINUTE_MS });
    expect(of(7)).toEqual(of(7));
    expect(of(7)).not.toEqual(of(8));
  });

  test("holds every kind in five minutes, and ends before the load does", () => {
    everySeed((faults) => {
      expect(new Set(faults.map(({ kind }) => kind)).size).toBe(FAULTS.length);
      expect(Math.max(...faults.map(endOf))).toBeLessThan(5 * MINUTE_MS);
    });
  });

  test("never has two faults of servers at once, nor two of nodes (S1, S2)", () => {
    everySeed((faults) => {
      for (const lane of [faults.filter(isServerFault), faults.filter((f) => !isServerFault(f))])
        for (const [i, fault] of lane.entries()) {
          const next = lane[i + 1];
          if (next) expect(next.atMs).toBeGreaterThan(endOf(fault) + 5_000);
        }
    });
  });

  test("kills a node only when no server is in trouble (S3)", () => {
    everySeed((faults) => {
      const servers = faults.filter(isServerFault);
      for (const { atMs } of faults.filter(({ kind }) => kind === "kill-node"))
        for (const server of servers)
          expect(server.atMs >= atMs + 6_000 || endOf(server) + 10_000 <= atMs).toBe(true);
    });
  });

  test("may be of chosen kinds alone", () => {
    const only = ["pause-node"] as const;
    const kinds = decideSchedule({ seed: 1, forMs: MINUTE_MS, only }).map(({ kind }) => kind);
    expect(new Set(kinds)).toEqual(new Set(only));
  });
});

describe("options", () => {
  test("have defaults, and take what the usage says", () => {
    expect(parseOptions([], 42_000)).toMatchObject({ seed: 42, forMs: 300_000, clients: 2 });
    const args = ["--minutes", "0.5", "--seed", "9", "--only", "kill-node", "--plant", "no-fence"];
    expect(parseOptions(args, 0)).toMatchObject({
      seed: 9,
      forMs: 30_000,
      only: ["kill-node"],
      plant: "no-fence",
    });
  });

  test.each([
    ["--minutes", "0"],
    ["--seed", "x"],
    ["--only", "rain"],
    ["--plant", "tree"],
  ])("refuse %s %s", (name, value) => {
    expect(() => parseOptions([name, value], 1_000)).toThrow(name);
  });
});
