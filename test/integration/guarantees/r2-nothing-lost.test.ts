/** R2 and R3: nothing accepted is lost, and nothing is done twice, whatever process dies. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../../runtime/clock.ts";
import type { Step } from "../../../runtime/steps.ts";
import { probe, probeTools } from "../../support/actors.ts";
import { type Cluster, startCluster } from "../../support/cluster.ts";
import { deferred } from "../../support/deferred.ts";
import { eventually } from "../../support/eventually.ts";
import { answers, BROKERS, heardBy, PATIENT, probeAt, restartServer } from "./brokers.ts";

const KEYS = Array.from({ length: 6 }, (_, n) => `k${n}`);

describe.each(BROKERS)("on $name", ({ on }) => {
  let cluster: Cluster;
  let armed:
    | { readonly step: Step; readonly key: string; readonly reached: () => void }
    | undefined;
  beforeAll(async () => {
    cluster = await startCluster({
      definitions: [probe()],
      tools: probeTools(),
      nodes: 2,
      partitions: 4,
      on,
      leaseTtlMs: 4_000,
      perNode: () => ({
        onStep(step, ref) {
          if (armed?.step !== step || armed.key !== ref.key) return undefined;
          armed.reached();
          return new Promise(() => {});
        },
      }),
    });
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  test("a server killed under load costs no accepted tell and doubles none, through a relay", async () => {
    const accepted = new Map<string, string[]>(KEYS.map((key) => [key, []]));
    const run = { isOver: false };
    const tell = async (key: string) => {
      for (let n = 0; !run.isOver; n += 1) {
        const relayed = { to: `${key}-target`, texts: [`${n}`] };
        await probeAt(cluster, key).relay(relayed, { id: `${key}-${n}`, timeoutMs: 30_000 });
        accepted.get(key)?.push(`${n}`);
        await systemClock.sleep(5);
      }
    };
    const running = Promise.all(KEYS.map(tell));
    const count = () => accepted.get("k0")?.length ?? 0;
    await eventually(() => count() > 20, { name: "tells go through", within: 20_000 });
    const before = count();
    await restartServer(cluster, on);
    await eventually(() => count() > before + 20, { name: "and again", within: 30_000 });
    run.isOver = true;
    await running;
    for (const key of KEYS) {
      const told = accepted.get(key) ?? [];
      expect(await heardBy(cluster, `${key}-target`, told.length)).toEqual(told);
    }
  }, 90_000);

  test.each(["handled", "committed", "published"] as const)(
    "a node that ends when a turn is %s leaves a relay and a tool that happen once, in order",
    async (step) => {
      await answers(cluster);
      const [from, to] = [`from-${step}`, `to-${step}`];
      const reached = deferred();
      armed = { step, key: from, reached: () => reached.resolve() };
      await probeAt(cluster, from).relay({ to, texts: ["1", "2", "3"] }, PATIENT);
      await reached.promise;
      armed = undefined;
      const owner = [...cluster.nodes.keys()].find((id) =>
        cluster
          .node(id)
          .actors(1_000)
          .some(({ key }) => key === from),
      );
      await cluster.crash(owner!);
      await probeAt(cluster, from).run({ n: 21 }, PATIENT);
      await probeAt(cluster, to).hear({ text: "last" }, PATIENT);
      expect((await heardBy(cluster, to, 4)).toSorted()).toEqual(["1", "2", "3", "last"]);
      expect((await heardBy(cluster, to, 4)).filter((text) => text !== "last")).toEqual([
        "1",
        "2",
        "3",
      ]);
      expect(await heardBy(cluster, from, 1)).toEqual(["relayed 3"]);
      const results = async () => (await probeAt(cluster, from).read({}, PATIENT)).results;
      await eventually(async () => (await results()).length > 0, { name: "the tool's result" });
      expect(await results()).toEqual(["42"]);
      await cluster.start(owner!);
      await cluster.settled();
    },
    60_000,
  );
});
