/** The two brokers that every guarantee is shown on, and the load that shows it. */
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { STREAMS } from "../../../protocols/subjects.ts";
import { actorClient } from "../../../runtime/actor-client.ts";
import { systemClock } from "../../../runtime/clock.ts";
import type { Transport } from "../../../runtime/transport.ts";
import { Probe } from "../../support/actors.ts";
import type { Cluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { SERVERS, type ServerName } from "../../support/nats-cluster.ts";

export const BROKERS = [
  { name: "one nats-server", on: "nats" },
  { name: "three nats-servers", on: "nats-cluster" },
] as const;
export type On = (typeof BROKERS)[number]["on"];

/** An election takes seconds: calls that meet one need that long. */
export const PATIENT = { timeoutMs: 20_000 };

export const probeAt = (cluster: Cluster, key: string) => cluster.client.actor(Probe, "acme", key);

export const probeOver = (transport: Transport, key: string) =>
  actorClient({ transport, clock: systemClock }).actor(Probe, "acme", key);

/** SIGKILLs a server and starts it again: of three, the one that leads the mailboxes, so that another must. */
export async function restartServer(cluster: Cluster, on: On): Promise<void> {
  if (on === "nats") {
    await cluster.nats.kill();
    await cluster.nats.restart();
    return;
  }
  const leader = await mailLeader(cluster);
  await cluster.natsCluster.kill(leader);
  await cluster.natsCluster.start(leader);
}

async function mailLeader({ natsCluster }: Cluster): Promise<ServerName> {
  const connection = await connect({ servers: natsCluster.url.split(",") });
  try {
    const jsm = await jetstreamManager(connection);
    const isLed = async () => {
      const { cluster } = await jsm.streams.info(STREAMS.mail);
      return SERVERS.find((server) => server === cluster?.leader) ?? false;
    };
    return await eventually(isLed, { name: "the mailboxes have a leader", within: 20_000 });
  } finally {
    await connection.close();
  }
}

/** Resolves when a call goes through again. */
export async function answers(cluster: Cluster, key = "is-it-back"): Promise<void> {
  await eventually(
    () =>
      probeAt(cluster, key)
        .read({}, { timeoutMs: 2_000 })
        .then(() => true),
    {
      name: "the broker and the nodes are back",
      within: 30_000,
    },
  );
}

/** Asks and tells every key without pause until told to stop, and remembers what was promised. */
export function load(cluster: Cluster, keys: readonly string[]) {
  const added = new Map(keys.map((key) => [key, 0]));
  const told = new Map<string, string[]>(keys.map((key) => [key, []]));
  const failures: { code?: string }[] = [];
  const state = { stopped: false };
  // An id that an earlier load has used would be taken for its message.
  const name = Math.random().toString(36).slice(2);
  const add = async (key: string) => {
    while (!state.stopped) {
      await probeAt(cluster, key)
        .add({ n: 1 }, { timeoutMs: 8_000 })
        .then(
          () => added.set(key, (added.get(key) ?? 0) + 1),
          (thrown: unknown) => failures.push(thrown as { code?: string }),
        );
      await systemClock.sleep(2);
    }
  };
  const tell = async (key: string) => {
    for (let n = 0; !state.stopped; n += 1) {
      const text = `${name} ${n}`;
      await probeAt(cluster, key).hear({ text }, { timeoutMs: 30_000, id: `${key}-${text}` });
      told.get(key)?.push(text);
      await systemClock.sleep(5);
    }
  };
  const running = Promise.all(keys.flatMap((key) => [add(key), tell(key)]));
  return {
    /** What every text of this load begins with. */
    name,
    added,
    told,
    failures,
    underWay: () =>
      eventually(() => [...added.values()].every((n) => n > 3), {
        name: "under way",
        within: 20_000,
      }),
    async stop() {
      state.stopped = true;
      await running;
    },
  };
}

/** What one actor has heard, once it has heard so many. */
export async function heardBy(cluster: Cluster, key: string, count: number): Promise<string[]> {
  const read = () => probeAt(cluster, key).read({}, PATIENT);
  await eventually(async () => (await read()).heard.length >= count, {
    name: `${key} has heard ${count}`,
    within: 30_000,
  });
  return [...(await read()).heard];
}
