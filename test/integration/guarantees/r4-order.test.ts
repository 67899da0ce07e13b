/** R4: messages from one sender to one actor are handled in the order sent. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../../runtime/clock.ts";
import { probe, probeTools } from "../../support/actors.ts";
import { type Cluster, startCluster } from "../../support/cluster.ts";
import { BROKERS, heardBy, PATIENT, probeAt, restartServer } from "./brokers.ts";

const SENDERS = ["s1", "s2", "s3", "s4"];

describe.each(BROKERS)("on $name", ({ on }) => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({
      definitions: [probe()],
      tools: probeTools(),
      nodes: 2,
      partitions: 8,
      on,
      leaseTtlMs: 4_000,
    });
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  /** Each sender relays its numbers to the target while `disturb` runs. */
  async function relayed(target: string, rounds: number, disturb: () => Promise<void>) {
    const sending = (async () => {
      for (let n = 0; n < rounds; n += 1) {
        await Promise.all(
          SENDERS.map((from) =>
            probeAt(cluster, `${target}-${from}`).relay(
              { to: target, texts: [`${from}/${n}/a`, `${from}/${n}/b`] },
              { timeoutMs: 30_000 },
            ),
          ),
        );
        await systemClock.sleep(10);
      }
    })();
    await disturb();
    await sending;
    const heard = await heardBy(cluster, target, SENDERS.length * rounds * 2);
    for (const from of SENDERS)
      expect(heard.filter((text) => text.startsWith(`${from}/`))).toEqual(
        Array.from({ length: rounds }, (_, n) => [`${from}/${n}/a`, `${from}/${n}/b`]).flat(),
      );
  }

  test("over hand-overs in both directions, through relays between two nodes", async () => {
    await relayed("handed", 50, async () => {
      await cluster.stop("n2");
      await cluster.start("n2");
      await cluster.settled();
      await cluster.stop("n1");
      await cluster.start("n1");
      await cluster.settled();
    });
  }, 90_000);

  test("over the death of a node and of a server", async () => {
    await relayed("died", 50, async () => {
      await cluster.crash("n2");
      await restartServer(cluster, on);
      await cluster.start("n2");
    });
    await cluster.settled();
  }, 120_000);

  test("an ask is handled after the tells that its sender sent before it", async () => {
    for (let n = 0; n < 100; n += 1) {
      void probeAt(cluster, "mixed").hear({ text: `${n}` }, PATIENT);
      await probeAt(cluster, "mixed").hear({ text: `${n}+` }, PATIENT);
      const { heard } = await probeAt(cluster, "mixed").read({}, PATIENT);
      expect(heard).toContain(`${n}+`);
    }
  }, 60_000);
});
