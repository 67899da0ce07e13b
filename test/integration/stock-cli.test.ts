/**
 * What the stock `nats` command line shows of a deployment, by the requests that its commands send. Each command of
 * `docs/operations.md` is listed here by the test that sends its request; each answer is JSON that a person can read.
 */
import { readFileSync } from "node:fs";
import {
  connect,
  createInbox,
  credsAuthenticator,
  headers,
  type NatsConnection,
} from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { refName } from "../../protocols/ids.ts";
import { partitionOf } from "../../protocols/partition.ts";
import { SYSTEM_MESSAGES } from "../../protocols/system.ts";
import { startBerth, type TestBerth } from "../support/berth.ts";
import { eventually } from "../support/eventually.ts";

/** Commands by the test that stands for them. */
const COMMANDS = {
  micro: [
    "nats micro ping berth-node",
    "nats micro info berth-node",
    "nats micro stats berth-node",
  ],
  node: [
    "nats req berth.node.NODE.stats ''",
    `nats req berth.node.NODE.actors '{"kind":"user","tenant":"dev-pro"}'`,
    "nats req berth.node.NODE.actor dev-pro/user/dev",
    "nats req berth.inspect.P.dev-pro.user.dev ''",
  ],
  workers: ["nats req berth.node.NODE.workers ''", "nats req berth.node.NODE.worker-log WORKER"],
  buckets: [
    "nats kv ls berth-nodes",
    "nats kv get berth-nodes NODE",
    "nats kv get berth-partitions P",
    "nats kv get berth-actors P.dev-pro.user.dev",
    "nats kv ls berth-workers",
    "nats kv get berth-workers WORKER",
    "nats kv get berth-jobs dev-pro.dev.JOB",
  ],
  streams: [
    "nats stream get BERTH_JOURNAL --last-for berth.journal.P.dev-pro.session.SESSION",
    "nats stream subjects BERTH_MAIL",
    "nats consumer info BERTH_MAIL mail-P",
    "nats stream subjects BERTH_REMINDERS",
    "nats stream get BERTH_REMINDERS --last-for berth.remind.TENANT.KIND.KEY.NAME",
    "nats stream subjects BERTH_DEAD_LETTERS",
    "nats stream get BERTH_DEAD_LETTERS --last-for berth.dead.dev-pro.user.dev",
    "nats req berth.node.NODE.replay dl-1",
  ],
  backups: [
    `nats kv put berth-partitions hold '{"by":"me","since":0}'`,
    "nats account backup /backups/by-hand",
    "nats kv del berth-partitions hold",
  ],
  orders: [
    `nats req berth.mail.dev-pro.user.dev.system '{"id":"by-hand-2","type":"$park","payload":{"code":"operator","message":"looking at it"},"sentAt":0}'`,
    `nats req berth.mail.dev-pro.user.dev.system '{"id":"by-hand-3","type":"$unpark","payload":{},"sentAt":0}'`,
    "nats req berth.node.NODE.drain '' --timeout 60s",
  ],
};

test("the commands of the documentation are those that are tested here", () => {
  const text = readFileSync(new URL("../../docs/operations.md", import.meta.url), "utf8");
  const documented = [...text.matchAll(/^\$ (nats .*)$/gm)].map(([, command]) => command);
  expect(new Set(documented)).toEqual(new Set(Object.values(COMMANDS).flat()));
});

let berth: TestBerth;
let nats: NatsConnection;
const USER = { tenant: "dev-pro", kind: "user", key: "dev" };
let node = "";

beforeAll(async () => {
  berth = await startBerth();
  // As `nats --creds` does.
  const creds = readFileSync(berth.nats.keys.credsPath("platform"));
  nats = await connect({
    servers: new URL(berth.nats.url).host,
    authenticator: credsAuthenticator(creds),
  });
  node = berth.role.node.id;
}, 60_000);
afterAll(async () => {
  await nats.close();
  await berth.stop();
});

async function request(subject: string, body: string | object = ""): Promise<unknown> {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const answer = await nats.request(subject, text, { timeout: 10_000 });
  return JSON.parse(answer.string());
}

interface StoredMessage {
  readonly message?: { readonly subject: string; readonly seq: number; readonly data: string };
  readonly error?: { readonly description: string };
}

/** `nats stream get STREAM --last-for SUBJECT`; `nats kv get` asks the same. */
async function last(stream: string, subject: string): Promise<Record<string, unknown>> {
  const { error, message } = (await request(`$JS.API.STREAM.MSG.GET.${stream}`, {
    last_by_subj: subject,
  })) as StoredMessage;
  if (!message) throw new Error(`${subject}: ${error?.description}`);
  return JSON.parse(Buffer.from(message.data, "base64").toString()) as Record<string, unknown>;
}

/** `nats kv get BUCKET KEY`. */
const value = (bucket: string, key: string) => last(`KV_${bucket}`, `$KV.${bucket}.${key}`);

/** `nats stream subjects STREAM`, and `nats kv ls BUCKET`. */
async function subjectsOf(stream: string): Promise<Record<string, number>> {
  const { state } = (await request(`$JS.API.STREAM.INFO.${stream}`, { subjects_filter: ">" })) as {
    state: { subjects?: Record<string, number> };
  };
  return state.subjects ?? {};
}

async function runJob(prompt: string): Promise<{ id: string; session_id: string }> {
  const headers = {
    authorization: `Bearer ${berth.keys.pro}`,
    "content-type": "application/json",
  };
  const body = JSON.stringify({ agent: "shell", prompt });
  const answer = await fetch(`${berth.url}/v1/jobs`, { method: "POST", headers, body });
  expect(answer.status).toBe(202);
  const job = (await answer.json()) as { id: string; session_id: string };
  await eventually(
    async () => {
      const found = await fetch(`${berth.url}/v1/jobs/${job.id}`, { headers });
      return ((await found.json()) as { state: string }).state === "succeeded";
    },
    { name: "the job succeeded", within: 30_000 },
  );
  return job;
}

const partition = (ref = USER) => partitionOf(ref, berth.base.transport.partitions);

describe("a node as a micro service", () => {
  test("is listed, described and counted by `nats micro`", async () => {
    await runJob("echo hello");
    const identity = { name: "berth-node", metadata: { node } };
    expect(await request("$SRV.PING")).toMatchObject(identity);
    expect(await request("$SRV.PING.berth-node")).toMatchObject(identity);
    const { endpoints } = (await request("$SRV.INFO.berth-node")) as {
      endpoints: { name: string; subject: string }[];
    };
    const verbs = [
      "drain",
      "actors",
      "actor",
      "replay",
      "stats",
      "record",
      "workers",
      "worker-log",
    ];
    expect(endpoints.map(({ name, subject }) => [name, subject])).toEqual(
      verbs.map((verb) => [verb, `berth.node.${node}.${verb}`]),
    );
    await request(`berth.node.${node}.stats`);
    const stats = (await request("$SRV.STATS.berth-node")) as {
      endpoints: { name: string; num_requests: number; data: Record<string, unknown> }[];
    };
    const own = stats.endpoints.find(({ name }) => name === "stats");
    expect(own?.num_requests).toBeGreaterThanOrEqual(1);
    expect(own?.data).toMatchObject({ effects: expect.any(Number), waiting: expect.any(Number) });
    expect(own?.data["turns"]).toBeGreaterThan(5);
    expect(own?.data["activations"]).toBeGreaterThan(2);
    expect(own?.data["partitions"]).toHaveLength(berth.base.transport.partitions);
  });

  test("tells of its actors, all or one, and of an actor wherever it is", async () => {
    const found = (await request(`berth.node.${node}.actors`, {
      kind: "user",
      tenant: USER.tenant,
    })) as { node: string; total: number; actors: object[] };
    expect(found).toMatchObject({ node, total: 1 });
    expect(found.actors).toMatchObject([{ ...USER, node, state: { type: "idle" } }]);
    const one = await request(`berth.node.${node}.actor`, refName(USER));
    expect(one).toMatchObject({ ...USER, waiting: 0 });
    const { tenant, kind, key } = USER;
    const subject = `berth.inspect.${partition()}.${tenant}.${kind}.${key}`;
    expect(await request(subject)).toMatchObject({ node, active: USER });
    expect(await request(`berth.node.${node}.actor`, "dev-pro/user/nobody")).toMatchObject({
      code: "request.not_found",
    });
    expect(await request(`berth.node.${node}.actors`, "{")).toMatchObject({
      code: "request.malformed",
    });
  });
});

describe("the workers of a node", () => {
  test("are told with what they use, and what each wrote, by its id", async () => {
    await runJob("echo of a worker");
    const [subject] = Object.keys(await subjectsOf("KV_berth-workers"));
    const id = subject?.split(".").at(-1) ?? "";
    const told = (await request(`berth.node.${node}.workers`)) as { use: Record<string, object> };
    expect(told).toMatchObject({
      node,
      driver: "process",
      at: expect.any(Number),
      steps: {},
      dormant: {},
    });
    expect(told.use[id]).toMatchObject({
      image: null,
      cpu_ms: expect.any(Number),
      memory_limit_bytes: null,
      processes: expect.any(Number),
    });
    const { log } = (await request(`berth.node.${node}.worker-log`, id)) as { log: string };
    expect(log).toContain(id);
    expect(await request(`berth.node.${node}.worker-log`, "wrk_never")).toMatchObject({
      code: "worker.not_found",
    });
  });
});

describe("buckets", () => {
  test("hold the lease of each node and the owner of each partition", async () => {
    expect(await value("berth-nodes", node)).toMatchObject({ id: node, draining: false });
    const owner = await value("berth-partitions", String(partition()));
    expect(owner).toMatchObject({ node, epoch: 1 });
    expect(Object.keys(await subjectsOf("KV_berth-nodes"))).toEqual([`$KV.berth-nodes.${node}`]);
  });

  test("hold the record of an actor, its epoch and its place in the mailbox", async () => {
    const { tenant, kind, key } = USER;
    const record = await value("berth-actors", `${partition()}.${tenant}.${kind}.${key}`);
    expect(record).toMatchObject({ v: 1, epoch: 1, state: { waiting: [] } });
    expect((record["cursor"] as Record<string, number>)["user"]).toBeGreaterThan(0);
  });

  test("hold workers with their phase, and jobs with their state", async () => {
    const job = await runJob("echo again");
    const [worker] = Object.keys(await subjectsOf("KV_berth-workers"));
    const id = worker?.split(".").at(-1) ?? "";
    expect(await value("berth-workers", id)).toMatchObject({ id, phase: expect.any(String) });
    expect(await value("berth-jobs", `dev-pro.dev.${job.id}`)).toMatchObject({
      state: "succeeded",
      exit_code: 0,
    });
  });
});

describe("streams", () => {
  test("hold the events of a session", async () => {
    const { session_id } = await runJob("echo once more");
    const ref = { tenant: "dev-pro", kind: "session", key: session_id };
    const subject = `berth.journal.${partition(ref)}.dev-pro.session.${session_id}`;
    const page = await last("BERTH_JOURNAL", subject);
    const events = page["events"] as { type: string; session_id: string }[];
    expect(events.at(-1)).toMatchObject({ type: "job.succeeded", session_id });
  });

  test("hold reminders by actor and name", async () => {
    const reminders = Object.keys(await subjectsOf("BERTH_REMINDERS")).filter((subject) =>
      subject.startsWith("berth.remind."),
    );
    const name = reminders[0] ?? "";
    expect(name.split(".")).toHaveLength(6);
    expect(await last("BERTH_REMINDERS", name)).toMatchObject({
      name: name.split(".").at(-1),
      type: expect.any(String),
    });
  });

  test("hold dead letters with their reason, which a request replays", async () => {
    const { tenant, kind, key } = USER;
    const bad = { id: "by-hand-1", type: "nonsense", payload: {}, sentAt: 0 };
    expect(await request(`berth.mail.${tenant}.${kind}.${key}.user`, bad)).toMatchObject({
      stream: "BERTH_MAIL",
    });
    const subject = `berth.dead.${tenant}.${kind}.${key}`;
    const letters = async () => (await subjectsOf("BERTH_DEAD_LETTERS"))[subject] ?? 0;
    await eventually(async () => (await letters()) === 1, { name: "the letter" });
    expect(await last("BERTH_DEAD_LETTERS", subject)).toMatchObject({
      actor: USER,
      reason: { code: "actor.unknown_message" },
      epoch: 1,
      attempts: 1,
    });
    const { message } = (await request("$JS.API.STREAM.MSG.GET.BERTH_DEAD_LETTERS", {
      last_by_subj: subject,
    })) as StoredMessage;
    const replay = `berth.node.${node}.replay`;
    const id = `dl-${message?.seq}`;
    expect(await request(replay, id)).toEqual({ replayed: id });
    expect(await request(replay, id)).toMatchObject({ code: "request.not_found" });
    const next = async () => {
      const now = (await request("$JS.API.STREAM.MSG.GET.BERTH_DEAD_LETTERS", {
        last_by_subj: subject,
      })) as StoredMessage;
      return (now.message?.seq ?? 0) > (message?.seq ?? 0);
    };
    await eventually(next, { name: "it failed again" });
  });

  test("say how far each partition's mail is, by consumer", async () => {
    await subjectsOf("BERTH_MAIL");
    const info = (await request(`$JS.API.CONSUMER.INFO.BERTH_MAIL.mail-${partition()}`)) as object;
    expect(info).toMatchObject({
      num_pending: expect.any(Number),
      num_ack_pending: expect.any(Number),
    });
  });
});

describe("a backup by hand", () => {
  test("is made while a hold keeps every partition without an owner; without the hold all goes on", async () => {
    const hold = "$KV.berth-partitions.hold";
    const owner = async () => (await value("berth-partitions", `${partition()}`))["node"];
    expect(await owner()).toBe(node);
    await request(hold, { by: "me", since: 0 });
    await eventually(async () => (await owner()) === null, { name: "nobody owns the partition" });
    // What `nats account backup` asks for each stream, and the archive that it then gets.
    const inbox = createInbox();
    const chunks = nats.subscribe(inbox, { max: 1 });
    const saved = await request("$JS.API.STREAM.SNAPSHOT.KV_berth-actors", {
      ...{ deliver_subject: inbox, no_consumers: false, jsck: false, chunk_size: 131_072 },
    });
    expect(saved).toMatchObject({
      config: { name: "KV_berth-actors" },
      state: { messages: expect.any(Number) },
    });
    for await (const chunk of chunks) expect(chunk.data.length).toBeGreaterThan(0);
    const gone = headers();
    gone.set("KV-Operation", "DEL");
    await nats.request(hold, "", { headers: gone, timeout: 5_000 });
    await eventually(async () => (await owner()) === node, { name: "the node owns it again" });
  });
});

describe("orders", () => {
  test("park and unpark an actor by a message on its system lane", async () => {
    const { tenant, kind, key } = USER;
    const subject = `berth.mail.${tenant}.${kind}.${key}.system`;
    const payload = { code: "operator", message: "looking at it" };
    await request(subject, { id: "by-hand-2", type: "$park", payload, sentAt: 0 });
    const standing = async () =>
      (await value("berth-actors", `${partition()}.${tenant}.${kind}.${key}`))["standing"];
    await eventually(async () => (await standing()) !== undefined, { name: "it is parked" });
    expect(await standing()).toMatchObject({ state: "parked", code: "operator" });
    await request(subject, { id: "by-hand-3", type: "$unpark", payload: {}, sentAt: 0 });
    await eventually(async () => (await standing()) === undefined, { name: "it is active" });
    expect(Object.keys(SYSTEM_MESSAGES)).toEqual(expect.arrayContaining(["$restart", "$stop"]));
  });

  test("drain a node", async () => {
    expect(await request(`berth.node.${node}.drain`)).toEqual({ drained: true });
    expect(await value("berth-nodes", node)).toMatchObject({ draining: true });
    expect(await value("berth-partitions", "0")).toMatchObject({ node: null });
  });
});
