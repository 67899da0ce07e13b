/** R2 and R4 of held mail on three servers: bodies that are read again from copies that lag, restart or lead anew. */
import { expect, test } from "vitest";
import { DEFAULT_SUPERVISION } from "../../../runtime/supervision.ts";
import { startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { flood } from "../../support/mail-flood.ts";
import { Meter, meter } from "../../support/meter.ts";
import { SERVERS } from "../../support/nats-cluster.ts";

const MESSAGES = 6_000;

test("an actor handles all that waited for it, in order, while servers are killed one after the other", {
  timeout: 180_000,
}, async () => {
  const supervision = { ...DEFAULT_SUPERVISION, on: { default: "stop" }, stopMs: 6_000 } as const;
  await using cluster = await startCluster({
    definitions: [meter({ supervision })],
    partitions: 2,
    on: "nats-cluster",
  });
  const actor = cluster.client.actor(Meter, "acme", "slow");
  await actor.add({}, { timeoutMs: 20_000 });
  await actor.hit({ n: -1 }, { timeoutMs: 20_000 });
  await eventually(() => cluster.node("n1").actors(9)[0]?.state.type === "stopped", {
    name: "it is stopped",
  });
  await flood(cluster.transport, "slow", MESSAGES);
  const handled = async () => (await actor.read({}, { timeoutMs: 5_000 })).hits;
  const killing = async () => {
    for (const server of SERVERS) {
      await cluster.natsCluster.kill(server);
      await cluster.natsCluster.start(server);
      await cluster.natsCluster.healthy(60_000);
    }
  };
  const killed = killing();
  await eventually(async () => (await handled()) === MESSAGES, {
    name: "all is handled",
    within: 120_000,
  });
  expect(await actor.read({}, { timeoutMs: 20_000 })).toMatchObject({
    last: MESSAGES - 1,
    disorder: 0,
  });
  await killed;
});
