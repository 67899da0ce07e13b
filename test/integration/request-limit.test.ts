/** What three gateways over a real broker let through of one user, around the time when a window that began earlier would end. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../runtime/clock.ts";
import { eventually } from "../support/eventually.ts";
import { type NatsGateways, startNatsGateways } from "../support/nats-gateways.ts";

const LIMIT = 60;
const WINDOW_MS = 2_000;

let rig: NatsGateways;
beforeAll(async () => {
  rig = await startNatsGateways(3, {
    tiers: { pro: { requestsPerMinute: LIMIT } },
    actors: { requestWindowMs: WINDOW_MS },
  });
});
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
});

/** A request that was let through at some time between the two. */
interface Passed {
  readonly from: number;
  readonly to: number;
}

async function send(n: number): Promise<Passed | undefined> {
  const from = systemClock.monotonic();
  const headers = { authorization: `Bearer ${rig.keys.pro}` };
  const { headers: said, status } = await fetch(`${rig.urls[n % 3]}/v1/me`, { headers });
  const to = systemClock.monotonic();
  if (status === 429)
    expect(Number(said.get("retry-after"))).toBeLessThanOrEqual(WINDOW_MS / 1_000 + 1);
  else expect(said.get("ratelimit")).toMatch(/^"requests";r=\d+;t=[0-2]$/);
  return status === 200 ? { from, to } : undefined;
}

/** As many as are let through, by all gateways at once, until so long after `start`. */
async function hammer(start: number, untilMs: number): Promise<Passed[]> {
  const passed: Passed[] = [];
  while (systemClock.monotonic() - start < untilMs) {
    const answers = await Promise.all(Array.from({ length: 30 }, (_, n) => send(n)));
    passed.push(...answers.filter((one) => one !== undefined));
  }
  return passed;
}

/** The most that were let through for certain within less than a window. */
function mostInWindow(passed: readonly Passed[]): number {
  const within = ({ from }: Passed) =>
    passed.filter((one) => one.from >= from && one.to < from + WINDOW_MS).length;
  return Math.max(...passed.map(within));
}

describe("a burst to three gateways", () => {
  it("over the end of a window that began with a request before it is not let through twice", async () => {
    const start = systemClock.monotonic();
    expect(await send(0)).toBeDefined();
    await eventually(() => systemClock.monotonic() - start > WINDOW_MS * 0.7, {
      name: "most of a window is over",
    });
    const burst = await hammer(start, WINDOW_MS * 1.4);
    expect(burst.length).toBeGreaterThan(LIMIT * 0.7);
    expect(mostInWindow(burst)).toBeLessThanOrEqual(LIMIT);
    // What was used is free again a window later, not sooner and not much later.
    const later = await hammer(systemClock.monotonic(), WINDOW_MS * 1.2);
    expect(later.length).toBeGreaterThan(LIMIT * 0.7);
    expect(mostInWindow([...burst, ...later])).toBeLessThanOrEqual(LIMIT);
  });
});
