import { describe, expect, it } from "vitest";
import { deploymentId } from "../../../deploy/deployment.ts";
import { BerthError } from "../../../protocols/errors.ts";
import { ID_PATTERN } from "../../../protocols/ids.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import type { Buckets } from "../../../runtime/transport.ts";

const unset = { BERTH_DEPLOYMENT: undefined };
const bucketsOf = () => connectMemory(new MemoryBroker({ clock: systemClock })).buckets;

describe("a deployment's id", () => {
  it("is the configured one, and then none is made", async () => {
    const buckets = bucketsOf();
    expect(await deploymentId(buckets, { BERTH_DEPLOYMENT: "mine" })).toBe("mine");
    expect(await buckets.list("claims", "")).toEqual([]);
  });

  it("is made once, however many nodes start at the same time", async () => {
    const buckets = bucketsOf();
    const ids = await Promise.all([1, 2, 3, 4].map(() => deploymentId(buckets, unset)));
    expect(new Set(ids).size).toBe(1);
    expect(ids[0]).toMatch(ID_PATTERN);
    expect(await deploymentId(buckets, unset)).toBe(ids[0]);
    expect(await deploymentId(bucketsOf(), unset)).not.toBe(ids[0]);
  });

  it("is the stored one when the answer to its writing was lost", async () => {
    const buckets = bucketsOf();
    const lossy: Buckets = {
      ...buckets,
      async put(...args) {
        await buckets.put(...args);
        throw new BerthError("broker.unavailable");
      },
    };
    const id = await deploymentId(lossy, unset);
    expect(await deploymentId(buckets, unset)).toBe(id);
  });

  it("is none when it can be neither written nor read", async () => {
    const away: Buckets = {
      ...bucketsOf(),
      put: () => Promise.reject(new BerthError("broker.unavailable")),
    };
    await expect(deploymentId(away, unset)).rejects.toMatchObject({ code: "broker.unavailable" });
  });
});
