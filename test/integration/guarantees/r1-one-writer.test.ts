/** R1: two activations of one actor never both commit. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { PartitionHost } from "../../../runtime/partition-host.ts";
import { decodeRecord } from "../../../runtime/record.ts";
import type { Transport } from "../../../runtime/transport.ts";
import { probe } from "../../support/actors.ts";
import { type Cluster, startCluster } from "../../support/cluster.ts";
import { deferred } from "../../support/deferred.ts";
import { eventually } from "../../support/eventually.ts";
import { partitionHost } from "../../support/host.ts";
import { BROKERS, PATIENT, probeAt, probeOver } from "./brokers.ts";

const definitions = [probe()];
const refOf = (key: string) => ({ kind: "probe", tenant: "acme", key });

async function recordOf(transport: Transport, key: string) {
  const found = await transport.records.load(refOf(key), false);
  return found && decodeRecord(found.data);
}

/** Two owners that replace each other's consumers may make one of them late; a node tries again, as here. */
async function opened(make: () => PartitionHost): Promise<PartitionHost> {
  return eventually(
    async () => {
      const host = make();
      await host.open();
      return host;
    },
    { name: "the host is open", within: 30_000 },
  );
}

describe.each(BROKERS)("on $name", ({ on }) => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ definitions, nodes: 1, partitions: 1, on });
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  test("a second owner of an older epoch takes no commit from the first, nor gives it one: every add counts once", async () => {
    const transport = await cluster.connect("rival");
    const rival = await opened(() => partitionHost({ transport, definitions, epoch: 0 }));
    const outcomes = await Promise.allSettled(
      Array.from({ length: 300 }, (_, n) => {
        const key = `k${n % 5}`;
        const handle = n % 2 ? probeAt(cluster, key) : probeOver(transport, key);
        return handle.add({ n: 1 }, { timeoutMs: 8_000 });
      }),
    );
    const answered = outcomes.filter(({ status }) => status === "fulfilled").length;
    await rival.close();
    let total = 0;
    for (let n = 0; n < 5; n += 1) {
      total += (await probeAt(cluster, `k${n}`).read({}, PATIENT)).total;
      expect((await recordOf(cluster.transport, `k${n}`))?.epoch).toBeGreaterThan(0);
    }
    expect(total).toBeGreaterThanOrEqual(answered);
    expect(total).toBeLessThanOrEqual(300);
    expect(answered).toBeGreaterThan(200);
    await transport.close();
  });

  test("a turn that stood still while another owner took the actor is refused by the broker", async () => {
    const key = "paused";
    const transport = await cluster.connect("stale");
    const [reached, resume] = [deferred(), deferred()];
    const fences: number[] = [];
    let commits = 0;
    const counting: Transport = {
      ...transport,
      records: {
        ...transport.records,
        commit(ref, ...rest) {
          if (ref.key === key) commits += 1;
          return transport.records.commit(ref, ...rest);
        },
      },
    };
    const before = await recordOf(cluster.transport, "k0");
    const epoch = (before?.epoch ?? 1) + 10;
    const stale = partitionHost({
      transport: counting,
      definitions,
      epoch,
      fenced: (seen) => fences.push(seen),
      onStep(step, ref) {
        if (step !== "handled" || ref.key !== key) return undefined;
        reached.resolve();
        return resume.promise;
      },
    });
    await cluster.stop("n1");
    await stale.open();
    const late = probeOver(transport, key).add({ n: 100 }, { timeoutMs: 20_000 });
    const outcome = late.catch((thrown: unknown) => thrown);
    await reached.promise;
    // Nothing has told the stale owner, its lease (none here) would not stop it either: only the broker can.
    const other = await cluster.connect("fresh");
    const fresh = await opened(() =>
      partitionHost({ transport: other, definitions, epoch: epoch + 1 }),
    );
    await probeOver(other, key).hear({ text: "to the new owner" });
    await eventually(async () => (await recordOf(other, key))?.epoch === epoch + 1, {
      name: "the new owner has written",
    });
    resume.resolve();
    await eventually(() => fences.includes(epoch + 1), { name: "the stale owner was fenced" });
    expect(commits).toBeGreaterThan(0);
    await stale.close();
    await outcome;
    const { total, heard } = await probeOver(other, key).read({}, PATIENT);
    expect(heard).toEqual(["to the new owner"]);
    // Sent on by its client to the new owner, or told that it failed: never stored by the stale one.
    expect([0, 100]).toContain(total);
    expect((await recordOf(other, key))?.writer).toBe(`writer-${epoch + 1}`);
    await fresh.close();
    await Promise.all([transport.close(), other.close()]);
    await cluster.start("n1");
    await cluster.settled();
  });

  test("a read never goes back: what one client has seen, no later read of any owner unsees", async () => {
    await cluster.start("n2");
    const key = "forward";
    const run = { isOver: false };
    const seen: number[] = [];
    const writing = (async () => {
      while (!run.isOver) await probeAt(cluster, key).add({ n: 1 }, PATIENT);
    })();
    const reading = (async () => {
      while (!run.isOver) seen.push((await probeAt(cluster, key).read({}, PATIENT)).total);
    })();
    for (const id of ["n1", "n2"]) {
      const before = seen.length;
      await cluster.stop(id);
      await eventually(() => seen.length > before + 50, { name: "reads go on", within: 20_000 });
      await cluster.start(id);
    }
    run.isOver = true;
    await Promise.all([writing, reading]);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    await cluster.stop("n2");
  });
});
