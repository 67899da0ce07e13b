/** Each metric of the runtime says something true of a node at work: none of them stays at nothing. */
import { describe, expect, onTestFinished, test } from "vitest";
import { prometheusMetrics } from "../../../deploy/metrics.ts";
import { BerthError } from "../../../protocols/errors.ts";
import { actorClient } from "../../../runtime/actor-client.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { startNode } from "../../../runtime/node.ts";
import { decodeRecord, encodeRecord } from "../../../runtime/record.ts";
import { DEFAULT_SUPERVISION } from "../../../runtime/supervision.ts";
import type { MailStream, Transport } from "../../../runtime/transport.ts";
import { Probe, probe, probeTools } from "../../support/actors.ts";
import { startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { valuesIn } from "../../support/metrics-text.ts";

async function startMeasured() {
  const metrics = prometheusMetrics();
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const cluster = await startCluster({
    definitions: [
      probe({
        passivateAfterMs: 300,
        supervision: {
          ...DEFAULT_SUPERVISION,
          maxAttempts: 2,
          backoff: { initialMs: 1, maxMs: 1 },
        },
      }),
    ],
    tools: { ...probeTools(), "test.double": () => held.then(() => ({ twice: 2 })) },
    metrics,
    leaseTtlMs: 600,
  });
  onTestFinished(async () => {
    release();
    await cluster[Symbol.asyncDispose]();
  });
  const client = actorClient({ transport: cluster.transport, clock: systemClock, metrics });
  /** The sum over all labels. */
  const sum = async (name: string) =>
    [...valuesIn(await metrics.text(), name).values()].reduce((total, n) => total + n, 0);
  const reaches = (name: string, least: number) =>
    eventually(async () => (await sum(name)) >= least, { name: `${name} is at least ${least}` });
  return { client, metrics, reaches, release, sum };
}

describe("a node under load", () => {
  test("counts turns, commits, activations and failures, and times turns and asks by kind", async () => {
    const { client, metrics, reaches, sum } = await startMeasured();
    const keys = Array.from({ length: 5 }, (_, n) => `k${n}`);
    for (let round = 0; round < 4; round += 1) {
      await Promise.all(keys.map((key) => client.actor(Probe, "acme", key).add({ n: 1 })));
    }
    await client.actor(Probe, "acme", "k0").hear({ text: "poison" });
    await reaches("berth_dead_letters_total", 1);
    expect(await sum("berth_turns_total")).toBeGreaterThanOrEqual(20);
    expect(await sum("berth_commit_seconds_count")).toBeGreaterThanOrEqual(20);
    expect(await sum("berth_activations_total")).toBeGreaterThanOrEqual(5);
    expect(await sum("berth_turn_failures_total")).toBe(2);
    expect(await sum("berth_takeovers_total")).toBe(4);
    expect(await sum("berth_takeover_seconds_count")).toBe(4);
    const text = await metrics.text();
    for (const name of ["berth_turn_seconds", "berth_ask_seconds"]) {
      const count = valuesIn(text, `${name}_count`).get('{kind="probe"}') ?? 0;
      const seconds = valuesIn(text, `${name}_sum`).get('{kind="probe"}') ?? 0;
      expect(count, name).toBeGreaterThanOrEqual(20);
      expect(seconds / count, name).toBeGreaterThan(0);
      expect(seconds / count, name).toBeLessThan(1);
    }
    expect(valuesIn(text, "berth_ask_seconds_count").get('{kind="probe"}')).toBe(20);
    await reaches("berth_passivations_total", 5);
  });

  test("gauges what is in memory, what waits and what runs", async () => {
    const { client, reaches, release } = await startMeasured();
    await reaches("berth_partitions_held", 4);
    await client.actor(Probe, "acme", "a").run({ n: 1 });
    await reaches("berth_effects_running", 1);
    await reaches("berth_activations", 1);
    release();
  });
});

describe("a node whose broker is slow or refuses", () => {
  async function startBent(bend: (transport: Transport) => Partial<Transport>) {
    const metrics = prometheusMetrics();
    const cluster = await startCluster({ definitions: [probe()], metrics, leaseTtlMs: 600 });
    const transport = await cluster.connect("bent");
    await cluster.stop("n1");
    onTestFinished(() => cluster[Symbol.asyncDispose]());
    const node = await startNode({
      transport: { ...transport, ...bend(transport) },
      definitions: [probe()],
      tools: probeTools(),
      clock: systemClock,
      logger: silentLogger,
      metrics,
      random: Math.random,
      nodeId: "bent",
      version: "0.0.0",
      drivers: [],
      leaseTtlMs: 600,
      sweepMs: 20,
      handoverMs: 50,
    });
    onTestFinished(() => node.stop());
    await eventually(() => node.isReady(), { name: "the node is ready" });
    const value = async (name: string) => valuesIn(await metrics.text(), name).get("") ?? 0;
    const reaches = (name: string, exactly: number) =>
      eventually(async () => (await value(name)) === exactly, { name: `${name} is ${exactly}` });
    return { client: cluster.client, metrics, reaches, transport, value };
  }

  test("shows the outbox that is not sent and the mail behind it, and nothing once it is", async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { client, reaches } = await startBent(({ mailboxes }) => ({
      mailboxes: { ...mailboxes, send: (...args) => held.then(() => mailboxes.send(...args)) },
    }));
    const handle = client.actor(Probe, "acme", "a");
    await handle.relay({ to: "b", texts: ["1", "2", "3"] });
    await reaches("berth_outbox_backlog", 3);
    await handle.hear({ text: "x" });
    await handle.hear({ text: "y" });
    await reaches("berth_mailbox_depth", 2);
    await reaches("berth_mailbox_depth_max", 2);
    release();
    for (const name of ["berth_outbox_backlog", "berth_mailbox_depth", "berth_mailbox_depth_max"])
      await reaches(name, 0);
  });

  test("counts renewals of its lease that failed", async () => {
    let isAway = false;
    const { value } = await startBent(({ buckets }) => ({
      buckets: {
        ...buckets,
        put: (bucket, ...rest) =>
          isAway && bucket === "nodes"
            ? Promise.reject(new BerthError("broker.unavailable"))
            : buckets.put(bucket, ...rest),
      },
    }));
    expect(await value("berth_lease_renewals_failed_total")).toBe(0);
    isAway = true;
    await eventually(async () => (await value("berth_lease_renewals_failed_total")) > 0, {
      name: "a failed renewal is counted",
    });
    isAway = false;
  });

  /** Three metrics of what another got in first with; each must count its own. */
  const strangers = async (metrics: ReturnType<typeof prometheusMetrics>) => {
    const text = await metrics.text();
    const sum = (name: string) =>
      [...valuesIn(text, name).values()].reduce((total, n) => total + n, 0);
    return {
      redeliveries: sum("berth_redeliveries_total"),
      conflicts: sum("berth_commit_conflicts_total"),
      fences: sum("berth_fences_total"),
    };
  };

  test("counts messages that come again because their acknowledgement was lost, and no fence", async () => {
    let isDeaf = true;
    const streams: MailStream[] = [];
    const { client, metrics } = await startBent(({ mailboxes }) => ({
      mailboxes: {
        ...mailboxes,
        async open(partition) {
          const stream = await mailboxes.open(partition);
          streams.push(stream);
          return {
            close: () => stream.close(),
            async *[Symbol.asyncIterator]() {
              for await (const mail of stream) {
                const ack = mail.ack.bind(mail);
                mail.ack = () => {
                  if (!isDeaf) ack();
                };
                yield mail;
              }
            },
          };
        },
      },
    }));
    const handle = client.actor(Probe, "acme", "a");
    for (const text of ["1", "2", "3"]) await handle.hear({ text });
    const heard = async () => (await handle.read({})).heard;
    await eventually(async () => (await heard()).length === 3, { name: "all are handled" });
    expect(await strangers(metrics)).toEqual({ redeliveries: 0, conflicts: 0, fences: 0 });
    isDeaf = false;
    // The node opens them again, and gets what it has not acknowledged.
    for (const stream of streams.splice(0)) await stream.close();
    await eventually(async () => (await strangers(metrics)).redeliveries === 3, {
      name: "all have come again",
    });
    await handle.hear({ text: "4" });
    await eventually(async () => (await heard()).length === 4, { name: "the last is handled" });
    expect(await heard()).toEqual(["1", "2", "3", "4"]);
    expect(await strangers(metrics)).toEqual({ redeliveries: 3, conflicts: 0, fences: 0 });
  });

  /** Writes what actor `a` has as another would: into the record of `key`, under an epoch later by so much. */
  async function write({ records }: Transport, key: string, later: number): Promise<void> {
    const ref = { kind: "probe", tenant: "acme", key: "a" };
    const found = await records.load(ref, false);
    const { state, ...head } = decodeRecord(found!.data);
    const data = encodeRecord({ ...head, epoch: head.epoch + later }, JSON.stringify(state));
    const expected = key === "a" ? found!.revision : 0;
    await records.commit({ ...ref, key }, data, { expected, journaled: false, pending: false });
  }

  test("counts a commit that met another's, and no fence where the epoch is its own", async () => {
    const { client, metrics, transport } = await startBent(() => ({}));
    const handle = client.actor(Probe, "acme", "a");
    await handle.add({ n: 1 });
    await write(transport, "a", 0);
    expect(await handle.add({ n: 1 })).toEqual({ total: 2 });
    expect(await strangers(metrics)).toEqual({ redeliveries: 0, conflicts: 1, fences: 0 });
  });

  test("counts a fence where a later epoch has written, and no conflict of a commit that it never tried", async () => {
    const { client, metrics, transport } = await startBent(() => ({}));
    await client.actor(Probe, "acme", "a").add({ n: 1 });
    await write(transport, "b", 5);
    expect(await client.actor(Probe, "acme", "b").add({ n: 1 })).toEqual({ total: 2 });
    const { conflicts, fences } = await strangers(metrics);
    expect(conflicts).toBe(0);
    expect(fences).toBeGreaterThan(0);
  });
});
