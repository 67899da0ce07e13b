/** R2, R8: nodes of two builds side by side on a real server, and the way from one to the other and back under load. */
import { expect, test } from "vitest";
import type { NodeRecord } from "../../../protocols/records.ts";
import { decodeRecord } from "../../../runtime/record.ts";
import { Probe } from "../../support/actors.ts";
import { probeLoad } from "../../support/probe-load.ts";
import { type ProcessCluster, spread, startProcesses } from "../../support/process-cluster.ts";

const NODES = ["one", "two", "three"] as const;
const OLD = { version: "1.0.0", isSkewed: false } as const;
/** Adds fields to all that it says and stores. */
const NEW = { version: "1.1.0", isSkewed: true } as const;
const KEYS = 16;
const STRANGE = "from_another_build";

const decoder = new TextDecoder();

/** By version, how many nodes run. */
async function builds({ transport }: ProcessCluster): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { value } of await transport.buckets.list("nodes", "")) {
    const { version } = JSON.parse(decoder.decode(value)) as NodeRecord;
    counts[version] = (counts[version] ?? 0) + 1;
  }
  return counts;
}

/** Of the load's records, how many the newer build has written last. */
async function writtenByNew({ transport }: ProcessCluster): Promise<number> {
  let count = 0;
  for (let n = 0; n < KEYS; n += 1) {
    const ref = { kind: "probe", tenant: "acme", key: `load-${n}` };
    const found = await transport.records.load(ref, false);
    expect(decodeRecord(found!.data).epoch).toBeGreaterThan(0);
    if (decoder.decode(found?.data).includes(STRANGE)) count += 1;
  }
  return count;
}

test("a roll-out from one build to another, and back, fails no call and loses nothing, tools and relays included", async () => {
  await using cluster = await startProcesses([]);
  await Promise.all(NODES.map((id) => cluster.start(id, OLD)));
  const load = probeLoad(cluster.client, { keys: KEYS, pauseMs: 100, runEvery: 5 });
  const relayed: string[] = [];
  const relay = async (text: string) => {
    for (let n = 0; n < KEYS; n += 1) {
      const from = cluster.client.actor(Probe, "acme", `relay-${n}`);
      await from.relay({ to: "target", texts: [`${text} ${n}`] }, { timeoutMs: 30_000 });
      relayed.push(`${text} ${n}`);
    }
  };
  const replace = async (id: string, by: typeof OLD | typeof NEW) => {
    expect(await cluster.node(id).terminate()).toBe(0);
    await cluster.start(id, by);
    await spread(cluster, NODES);
    await load.answered();
    await relay(`${id} runs ${by.version}`);
  };

  await load.answered();
  expect(await writtenByNew(cluster)).toBe(0);
  await replace("one", NEW);
  expect(await builds(cluster)).toEqual({ "1.0.0": 2, "1.1.0": 1 });
  await replace("two", NEW);
  const mixed = await writtenByNew(cluster);
  expect(mixed).toBeGreaterThan(0);
  expect(mixed).toBeLessThan(KEYS);
  await replace("three", NEW);
  expect(await builds(cluster)).toEqual({ "1.1.0": 3 });
  await replace("two", OLD);
  expect(await builds(cluster)).toEqual({ "1.0.0": 1, "1.1.0": 2 });

  await load.stop();
  expect(load.failures).toEqual([]);
  await load.expectKept();
  const target = cluster.client.actor(Probe, "acme", "target");
  const { heard } = await target.read({}, { timeoutMs: 20_000 });
  expect(heard.toSorted()).toEqual(relayed.toSorted());
}, 180_000);
