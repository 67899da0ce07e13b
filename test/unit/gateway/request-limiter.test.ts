import { describe, expect, it } from "vitest";
import type { Principal } from "../../../gateway/auth/principal.ts";
import { requireTenant } from "../../../gateway/auth/principal.ts";
import { RequestLimiter } from "../../../gateway/limits/request-limiter.ts";
import { BerthError } from "../../../protocols/errors.ts";
import { tierTable } from "../../../protocols/tiers.ts";
import type { Client } from "../../../runtime/client.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { noMetrics } from "../../../runtime/metrics.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const OWN = 5;

/** A gateway's limiter whose user's actor answers each ask at once, with a refusal. */
class Stage {
  readonly clock = new ManualClock();
  asks = 0;
  readonly #limiter = new RequestLimiter({
    client: {
      actor: () => ({
        permits: () => {
          this.asks += 1;
          return Promise.reject(new BerthError("actor.parked"));
        },
      }),
    } as unknown as Client,
    clock: this.clock,
    logger: silentLogger,
    metrics: noMetrics,
    tiers: tierTable({ pro: { requestsPerMinute: OWN * 20 } }),
  });

  /** Whether each was let through, or after how long to come again. */
  async send(requests: number): Promise<(true | number | undefined)[]> {
    const principal = requireTenant({ tenant: "t", user: "u" } as Principal);
    const outcomes: (true | number | undefined)[] = [];
    for (let n = 0; n < requests; n += 1)
      outcomes.push(
        await this.#limiter.take(principal, "pro").then(
          () => true as const,
          (thrown: unknown) => (thrown as BerthError).retryAfterMs,
        ),
      );
    return outcomes;
  }
}

describe("a user's actor that refuses to give permits", () => {
  it("is asked again when a refused caller was told to come, not by each request before (L4)", async () => {
    const stage = new Stage();
    expect(await stage.send(OWN)).toEqual(Array(OWN).fill(true));
    const before = stage.asks;
    expect(await stage.send(20)).toEqual(Array(20).fill(1_000));
    expect(stage.asks).toBe(before + 1);
    await stage.clock.advance(1_000);
    expect(await stage.send(20)).toEqual(Array(20).fill(1_000));
    expect(stage.asks).toBe(before + 2);
  });

  it("has its user go on with one small block a minute (L3)", async () => {
    const stage = new Stage();
    await stage.send(OWN + 1);
    await stage.clock.advance(60_000);
    expect((await stage.send(OWN + 1)).filter((outcome) => outcome === true)).toHaveLength(OWN);
  });
});
