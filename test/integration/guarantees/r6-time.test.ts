/** R6: reminders survive restarts, fire once, at most a second late; idle actors leave memory by themselves. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../../runtime/clock.ts";
import { decodeRecord } from "../../../runtime/record.ts";
import { probe } from "../../support/actors.ts";
import { type Cluster, startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { answers, BROKERS, PATIENT, probeAt, restartServer } from "./brokers.ts";

describe.each(BROKERS)("on $name", ({ on }) => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({
      definitions: [probe({ passivateAfterMs: 500 })],
      nodes: 2,
      partitions: 4,
      on,
      leaseTtlMs: 4_000,
    });
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  const remindersOf = async (key: string) => {
    const found = await cluster.transport.records.load(
      { kind: "probe", tenant: "acme", key },
      false,
    );
    return found ? Object.keys(decodeRecord(found.data).reminders).length : 0;
  };
  const alarmsOf = async (key: string) =>
    (await probeAt(cluster, key).read({}, { timeoutMs: 5_000 })).alarms;

  test("a reminder fires once, not before its time and at most a second after it", async () => {
    const setAt = performance.now();
    await probeAt(cluster, "a").remind({ name: "r", text: "now", afterMs: 3_000 }, PATIENT);
    const setBy = performance.now();
    await eventually(async () => (await alarmsOf("a")).length > 0, { name: "it fires" });
    const firedAt = performance.now();
    expect(firedAt - setAt).toBeGreaterThan(2_900);
    expect(firedAt - setBy).toBeLessThan(3_000 + 1_500);
    expect(await alarmsOf("a")).toEqual(["now"]);
  });

  test("set again it replaces the one of its name; cancelled it never fires", async () => {
    const at = probeAt(cluster, "b");
    await at.remind({ name: "r", text: "first", afterMs: 4_000 }, PATIENT);
    await at.remind({ name: "r", text: "second", afterMs: 5_000 }, PATIENT);
    await at.remind({ name: "gone", text: "gone", afterMs: 4_000 }, PATIENT);
    await at.forget({ name: "gone" }, PATIENT);
    await at.remind({ name: "last", text: "last", afterMs: 6_500 }, PATIENT);
    await eventually(async () => (await alarmsOf("b")).includes("last"), {
      name: "the last one fires",
      within: 15_000,
    });
    expect(await alarmsOf("b")).toEqual(["second", "last"]);
  });

  test("reminders outlive a server and every node, and none is lost or doubled", async () => {
    const keys = Array.from({ length: 40 }, (_, n) => `many${n}`);
    const startedAt = performance.now();
    await Promise.all(keys.map((key) => probeAt(cluster, key).add({ n: 1 }, PATIENT)));
    // Longer than it takes this machine to set them all.
    const soonMs = Math.ceil(4_000 + 5 * (performance.now() - startedAt));
    const setAt = performance.now();
    await Promise.all(
      keys.map(async (key) => {
        const at = probeAt(cluster, key);
        await at.remind({ name: "r", text: "soon", afterMs: soonMs }, PATIENT);
        await at.remind({ name: "s", text: "later", afterMs: soonMs + 10_000 }, PATIENT);
      }),
    );
    const areSet = async () => (await Promise.all(keys.map(remindersOf))).every((n) => n === 2);
    await eventually(areSet, { name: "all are set", within: 20_000 });
    const setBy = performance.now();
    await cluster.crash("n1");
    await cluster.crash("n2");
    expect(performance.now(), "no node is left before the first is due").toBeLessThan(
      setAt + soonMs,
    );
    await restartServer(cluster, on);
    // Each of the first ones falls due while no node runs.
    await systemClock.sleep(setBy + soonMs + 500 - performance.now());
    await Promise.all([cluster.start("n1"), cluster.start("n2")]);
    await answers(cluster);
    await eventually(
      async () => (await Promise.all(keys.map(alarmsOf))).every((alarms) => alarms.length >= 2),
      { name: "all have fired", within: 40_000 },
    );
    for (const key of keys) expect(await alarmsOf(key)).toEqual(["soon", "later"]);
  }, 90_000);

  test("an idle actor leaves memory by itself and is back with its state at the next message", async () => {
    await probeAt(cluster, "idle").add({ n: 7 }, PATIENT);
    const keys = () =>
      [...cluster.nodes.values()].flatMap((node) => node.actors(1_000).map(({ key }) => key));
    await eventually(() => !keys().includes("idle"), { name: "it is gone" });
    expect(await probeAt(cluster, "idle").add({ n: 1 }, PATIENT)).toEqual({ total: 8 });
  });
});
