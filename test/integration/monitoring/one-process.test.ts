/**
 * Alerts of what goes wrong around one Berth and its broker, each by its real cause. `berth up` uses a broker of its own behind a
 * proxy, whose account has a limit. What takes long begins first, and what Berth cannot recover from comes last.
 */
import { once } from "node:events";
import { rename, rm, writeFile } from "node:fs/promises";
import { Agent, get } from "node:http";
import { createConnection, type Socket } from "node:net";
import { join } from "node:path";
import { type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { DevFile } from "../../../protocols/api.ts";
import { partitionOf } from "../../../protocols/partition.ts";
import { BUCKETS, STREAMS, subjects } from "../../../protocols/subjects.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { type BerthProcess, spawnBerth } from "../../support/berth-process.ts";
import { eventually } from "../../support/eventually.ts";
import { startNats, type TestNats } from "../../support/nats.ts";
import { describePrometheus, type Prometheus, startPrometheus } from "../../support/prometheus.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";
import { SECRET, signSecret } from "../../support/tokens.ts";

const MIB = 1024 ** 2;
const STORAGE_BYTES = 128 * MIB;
const PARTITIONS = 16;
/** More than ten readers are cut, and more than five commits refused, when their alerts come. */
const READERS = 12;
const CONFLICTS = 7;
/** Each of these has two messages in its outbox. */
const STUCK_USERS = 600;
/** One address is told so for 600 requests in a minute, and then that it is too many. */
const STRANGERS = 8;
const REQUESTS_OF_EACH = 500;

type Tier = "free" | "pro" | "enterprise";

/** Longer than an alert may take. */
vi.setConfig({ testTimeout: 100_000 });

describePrometheus("a Prometheus says so", () => {
  let nats: TestNats;
  let proxy: TcpProxy;
  let berth: BerthProcess;
  let dev: DevFile;
  let prometheus: Prometheus;
  let nc: NatsConnection;
  let jsm: JetStreamManager;
  const readers: Socket[] = [];

  beforeAll(async () => {
    nats = await startNats({ authorize: true, storageBytes: STORAGE_BYTES });
    proxy = await TcpProxy.start(nats.port);
    berth = await spawnBerth({
      BERTH_NATS_URL: nats.url.replace(String(nats.port), String(proxy.port)),
      BERTH_WORKER_NATS_URL: nats.workerUrl,
      BERTH_TIERS: JSON.stringify({
        free: { minWorkers: 1, maxWorkers: 2, jobsPerHour: 1_000, concurrentJobs: null },
        pro: { concurrentJobs: 1 },
      }),
      BERTH_JWT_SECRET: SECRET,
      BERTH_SWEEP_EVERY: "2s",
      // Workers are to be there still when the broker has forgotten them.
      BERTH_ORPHAN_AFTER: "120s",
    });
    dev = await berth.dev();
    prometheus = await startPrometheus({ gateways: [new URL(dev.metrics_url).host] });
    nc = await connect({ servers: nats.url.replace(/^nats:\/\/.*@/, ""), ...usersOf(nats.url) });
    jsm = await jetstreamManager(nc);
  });
  afterAll(async () => {
    for (const socket of readers) socket.destroy();
    await nc?.close();
    await prometheus?.[Symbol.asyncDispose]();
    await berth?.[Symbol.asyncDispose]();
    await proxy?.[Symbol.asyncDispose]();
    await nats?.[Symbol.asyncDispose]();
  });

  async function submit(key: string, prompt: string): Promise<Response> {
    return await fetch(`${dev.url}/v1/jobs`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ agent: "shell", prompt }),
    });
  }

  async function accepted(tier: Tier, prompt: string): Promise<string> {
    const answer = await submit(dev.keys[tier], prompt);
    const text = await answer.text();
    expect(answer.status, text).toBe(202);
    return (JSON.parse(text) as { id: string }).id;
  }

  /** Users that nobody has made: their tokens say who they are. */
  const keyOf = (user: string, tier: Tier) =>
    signSecret({
      tenant: `dev-${tier}`,
      sub: user,
      exp: Math.floor(systemClock.now() / 1_000) + 3_600,
    });

  test("nothing, in peace", async () => {
    await eventually(
      async () => (await prometheus.values('up{job="berth-gateway"} == 1')).length === 1,
      { within: 20_000, name: "the target is up" },
    );
    await eventually(async () => expect(await prometheus.firing()).toEqual([]), {
      within: 20_000,
      name: "nothing fires",
    });
    // The second waits for the first, for longer than a minute: see below.
    await accepted("pro", "sleep 62");
    await accepted("pro", "true");
    const flood = await accepted("enterprise", "yes nobody reads this | head -c 14000000");
    for (let n = 0; n < READERS; n += 1) readers.push(await deafReader(flood));
  });

  /** Asks for the events of a job, and takes none. */
  async function deafReader(job: string): Promise<Socket> {
    const { hostname, port } = new URL(dev.url);
    const socket = createConnection({ host: hostname, port: Number(port) });
    socket.on("error", () => {});
    await once(socket, "connect");
    socket.write(
      `GET /v1/jobs/${job}/events HTTP/1.1\r\nhost: ${hostname}\r\naccept: text/event-stream\r\n` +
        `authorization: Bearer ${dev.keys.enterprise}\r\n\r\n`,
    );
    return socket;
  }

  test("when somebody else writes an actor's records, and when an owner of a later epoch does", async () => {
    const ref = { kind: "user", tenant: "dev-free", key: "dev" };
    const subject = subjects.record(partitionOf(ref, PARTITIONS), ref);
    const overwrite = async (later: number) => {
      const query = { last_by_subj: subject };
      const found = await jsm.streams.getMessage(`KV_${BUCKETS.actors}`, query);
      if (!found) return false;
      const record = found.json<{ readonly epoch: number }>();
      const data = JSON.stringify({ ...record, epoch: record.epoch + later });
      await jetstream(nc).publish(subject, data, { expect: { lastSubjectSequence: found.seq } });
      return true;
    };
    await accepted("free", "true");
    for (const later of [...Array<number>(CONFLICTS).fill(0), 1]) {
      await eventually(() => overwrite(later), { name: "a record was overwritten" });
      await accepted("free", "true");
    }
    await prometheus.fires("CommitConflicts", "CommitsFenced");
  });

  test("when the way to the broker is cut, and when it is slow", async () => {
    proxy.cut("silent");
    await prometheus.fires("LeaseRenewalsFailing");
    proxy.heal();
    await eventually(() => accepted("free", "true"), { within: 20_000, name: "Berth is back" });
    proxy.delay(150);
    const asking = new AbortController();
    const asks = (async () => {
      while (!asking.signal.aborted) await submit(dev.keys.free, "true");
    })();
    await prometheus.fires("SlowCommits");
    asking.abort();
    await asks;
    proxy.delay(0);
  });

  test("when readers take nothing", async () => {
    await prometheus.fires("ReadersCut");
  });

  test("when a host cannot write down what it starts", async () => {
    const folder = join(berth.dataDir, "workers");
    await rename(folder, `${folder}.away`);
    await writeFile(folder, "not a folder");
    const keys = await Promise.all(["ann", "bob", "cy"].map((user) => keyOf(user, "pro")));
    for (const key of keys) expect((await submit(key, "true")).status).toBe(202);
    await prometheus.fires("WorkerStartsFailing", "ReconcileFailing");
    await rm(folder);
    await rename(`${folder}.away`, folder);
  });

  test("when strangers come in numbers", async () => {
    const strangers = Array.from({ length: STRANGERS }, (_, n) => `127.0.7.${n + 1}`);
    await Promise.all(strangers.map((address) => knock(address, REQUESTS_OF_EACH)));
    await prometheus.fires("DeniedFlood");
  });

  /** Comes without a valid key, again and again. */
  async function knock(localAddress: string, times: number): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const headers = { authorization: "Bearer brt_nobody" };
    for (let n = 0; n < times; n += 1) {
      const request = get(`${dev.url}/v1/jobs`, { agent, localAddress, headers });
      const [answer] = (await once(request, "response")) as [NodeJS.ReadableStream];
      answer.resume();
      await once(answer, "end");
    }
    agent.destroy();
  }

  /** What Berth's account has stored, of what it may. */
  const used = async () => (await jsm.getAccountInfo()).storage / STORAGE_BYTES;
  const store = (bytes: number) => jetstream(nc).publish("somebodys.things", new Uint8Array(bytes));

  test("when storage becomes scarce, and when a job has waited for more than a minute", async () => {
    await jsm.streams.add({ name: "SOMEBODYS", subjects: ["somebodys.>"] });
    while ((await used()) < 0.85) await store(MIB / 2);
    await prometheus.fires("LongQueueWait", "BrokerStorageLow");
  });

  test("when mail has nowhere to go", async () => {
    const { config } = await jsm.streams.info(STREAMS.mail);
    await jsm.streams.update(STREAMS.mail, { ...config, max_msgs: 1 });
    const users = Array.from({ length: STUCK_USERS }, (_, n) => keyOf(`stuck-${n}`, "free"));
    const asks = users.map(async (key) => await submit(await key, "true"));
    await prometheus.fires("OutboxBacklog");
    await Promise.allSettled(asks);
  });

  test("when the account's storage runs out", async () => {
    // Into each gap that is left, until not even a line finds room.
    for (let bytes = MIB / 2; bytes > 16; bytes /= 2) {
      while (await store(bytes).then(isTrue, isRefusal)) expect(await used()).toBeLessThan(1.01);
    }
    await knock("127.0.8.1", 1);
    await prometheus.fires("BrokerStorageFull", "AuditLost");
  });

  test("when a host has workers that nobody knows", async () => {
    await berth.kill();
    await nats.kill();
    await rm(join(nats.dataDir, "nats"), { recursive: true });
    await nats.restart();
    await berth.start();
    await prometheus.fires("OrphansRemoved");
  });
});

const isTrue = () => true;
function isRefusal(thrown: unknown): false {
  expect(String(thrown)).toMatch(/resource/i);
  return false;
}

function usersOf(url: string): { readonly user: string; readonly pass: string } {
  const { password, username } = new URL(url);
  return { user: username, pass: password };
}
