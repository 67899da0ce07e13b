/** R3: a message that comes again, from whomever and however often, is applied once. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MailStream, Transport } from "../../../runtime/transport.ts";
import { probe, probeTools } from "../../support/actors.ts";
import { type Cluster, startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { BROKERS, heardBy, PATIENT, probeAt, restartServer } from "./brokers.ts";

/** Loses every acknowledgement of mail while `isDeaf`. */
function forgetful(inner: Transport, state: { isDeaf: boolean }): Transport {
  return {
    ...inner,
    mailboxes: {
      ...inner.mailboxes,
      async open(partition): Promise<MailStream> {
        const stream = await inner.mailboxes.open(partition);
        return {
          close: () => stream.close(),
          async *[Symbol.asyncIterator]() {
            for await (const mail of stream) {
              const ack = mail.ack.bind(mail);
              mail.ack = () => {
                if (!state.isDeaf) ack();
              };
              yield mail;
            }
          },
        };
      },
    },
  };
}

describe.each(BROKERS)("on $name", ({ on }) => {
  let cluster: Cluster;
  const state = { isDeaf: false };
  beforeAll(async () => {
    cluster = await startCluster({
      definitions: [probe()],
      tools: probeTools(),
      nodes: 1,
      partitions: 2,
      on,
      leaseTtlMs: 4_000,
      wrap: (transport) => forgetful(transport, state),
    });
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  test("a tell that its client sends again under one id is handled once", async () => {
    for (let n = 0; n < 5; n += 1)
      await probeAt(cluster, "twice").hear({ text: "once" }, { id: "the-same", ...PATIENT });
    await probeAt(cluster, "twice").hear({ text: "last" }, PATIENT);
    expect(await heardBy(cluster, "twice", 2)).toEqual(["once", "last"]);
  });

  test("mail whose acknowledgement was lost comes again to the next owner and is dropped", async () => {
    state.isDeaf = true;
    const texts = Array.from({ length: 50 }, (_, n) => `${n}`);
    for (const text of texts) await probeAt(cluster, "unacked").hear({ text }, PATIENT);
    await probeAt(cluster, "unacked").run({ n: 4 }, PATIENT);
    await heardBy(cluster, "unacked", 50);
    const results = async () => (await probeAt(cluster, "unacked").read({}, PATIENT)).results;
    await eventually(async () => (await results()).length === 1, { name: "the tool's result" });
    await cluster.crash("n1");
    state.isDeaf = false;
    await cluster.start("n1");
    await cluster.settled();
    await probeAt(cluster, "unacked").hear({ text: "last" }, PATIENT);
    expect(await heardBy(cluster, "unacked", 51)).toEqual([...texts, "last"]);
    expect(await results()).toEqual(["8"]);
  }, 60_000);

  test("an add whose answer is lost with a server counts once or not at all, never twice", async () => {
    const outcomes: boolean[] = [];
    const run = { isOver: false };
    const adding = (async () => {
      while (!run.isOver)
        await probeAt(cluster, "counted")
          .add({ n: 1 }, { timeoutMs: 6_000 })
          .then(
            () => outcomes.push(true),
            () => outcomes.push(false),
          );
    })();
    await eventually(() => outcomes.length > 30, { name: "under way" });
    await restartServer(cluster, on);
    const before = outcomes.length;
    await eventually(() => outcomes.slice(before).filter(Boolean).length > 30, {
      name: "under way again",
      within: 30_000,
    });
    run.isOver = true;
    await adding;
    const sure = outcomes.filter(Boolean).length;
    const { total } = await probeAt(cluster, "counted").read({}, PATIENT);
    expect(total).toBeGreaterThanOrEqual(sure);
    expect(total).toBeLessThanOrEqual(outcomes.length);
  }, 60_000);
});
