/**
 * Workers' credentials in a whole deployment on a nats-server in operator mode: one node keeps accounts, the other has the
 * issuer's key alone and asks it. Credentials live for seconds, so that jobs outlive them.
 */
import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { newKey, putKey } from "../../../deploy/keys.ts";
import { BerthClient } from "../../../gateway/client.ts";
import type { ApiWorker } from "../../../protocols/api-operators.ts";
import type { SessionEvent } from "../../../protocols/events.ts";
import { subjects } from "../../../protocols/subjects.ts";
import { pack, unpack } from "../../../runtime/ask-codec.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { connectNats, type NatsTransport } from "../../../runtime/nats/transport.ts";
import { authenticatorOf } from "../../../runtime/nats-auth/credential.ts";
import { CredentialIssuer } from "../../../runtime/nats-auth/credential-issuer.ts";
import { eventually } from "../../support/eventually.ts";
import { followPrintingJob } from "../../support/followed-job.ts";
import type { OperatorNats } from "../../support/nats.ts";
import {
  operatorRoleProcesses,
  type RoleProcess,
  type RoleProcesses,
} from "../../support/role-process.ts";

const TTL_MS = 12_000;
const LINES = 63;
const LINE_EVERY = "0.2";

let processes: RoleProcesses & { readonly nats: OperatorNats };
let nodes: Record<"keeper" | "issuer", RoleProcess>;
let transport: NatsTransport;
let client: BerthClient;
let operator: (path: string, method?: string, body?: object) => Promise<unknown>;

beforeAll(async () => {
  processes = await operatorRoleProcesses((_, name, { keys }) => ({
    BERTH_NATS_CREDS: keys.credsPath("platform"),
    BERTH_NATS_AUTH: name === "issuer" ? processes.dataDir("issuer-keys") : keys.folder,
    BERTH_CREDENTIAL_TTL: `${TTL_MS}ms`,
    BERTH_LEASE_TTL: "2s",
    BERTH_ORPHAN_AFTER: "3s",
    BERTH_KILL_GRACE: "1s",
  }));
  const { keys, broker } = processes.nats;
  await mkdir(processes.dataDir("issuer-keys"), { recursive: true });
  await copyFile(
    join(keys.folder, "issuer.nk"),
    join(processes.dataDir("issuer-keys"), "issuer.nk"),
  );
  nodes = {
    keeper: await processes.start("node", "keeper"),
    issuer: await processes.start("node", "issuer"),
  };
  const gateway = await processes.start("gateway", "gw");
  transport = await connectNats({
    ...{ url: broker.url, name: "test", clock: systemClock, logger: silentLogger },
    credential: broker.credential,
    topology: { replicas: 1, partitions: 8, mailboxCapacity: 100, journalRetentionMs: 3_600_000 },
  });
  const key = newKey();
  const about = { name: "operator", user: "operator", scope: "operator" } as const;
  await putKey({ clock: systemClock, transport }, key, about);
  operator = async (path, method = "GET", body) => {
    const answer = await fetch(`${gateway.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return await answer.json();
  };
  await eventually(() => operator("/v1/tenants/acme", "PUT", { name: "Acme", tier: "pro" }), {
    name: "the key is known",
  });
  const user = (await eventually(
    () => operator("/v1/tenants/acme/keys", "POST", { name: "ann", user: "ann" }),
    { name: "the tenant is known" },
  )) as { key: string };
  client = new BerthClient({ url: gateway.url, key: user.key, patienceMs: 60_000 });
}, 120_000);
afterAll(async () => {
  await transport?.close();
  await processes?.[Symbol.asyncDispose]();
});

/** Runs a job that prints numbered lines for longer than a credential lives. */
async function startLines() {
  const prompt = `for i in $(seq 1 ${LINES}); do echo line $i; sleep ${LINE_EVERY}; done`;
  const { events, id, reading } = await followPrintingJob(client, prompt);
  const { worker } = await client.job(id);
  const { data } = (await operator("/v1/workers")) as { data: ApiWorker[] };
  const host = data.find(({ id }) => id === worker)?.host as "keeper" | "issuer";
  return { events, reading, worker: worker ?? "", host };
}

function expectWhole(events: readonly SessionEvent[]): void {
  const text = events
    .filter(({ type }) => type === "agent.output")
    .map(({ data }) => String(data["text"]))
    .join("");
  const wanted = Array.from({ length: LINES }, (_, n) => `line ${n + 1}\n`).join("");
  expect(text).toBe(wanted);
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, n) => (events[0]?.seq ?? 0) + n));
  expect(events.at(-1)?.type).toBe("job.succeeded");
}

describe("a job that outlives its worker's credential", () => {
  it("loses nothing: the credential is renewed while the job runs", async () => {
    const from = systemClock.monotonic();
    const { events, reading } = await startLines();
    await reading;
    expect(systemClock.monotonic() - from).toBeGreaterThan(TTL_MS);
    expectWhole(events);
  }, 60_000);

  it("of which a copy was stolen is cut off with it, whatever the thief does", async () => {
    const { worker, reading } = await startLines();
    const { keys, broker } = processes.nats;
    const issuer = new CredentialIssuer({
      ...{ keys: () => keys.all("issuer"), ttlMs: TTL_MS, clock: systemClock },
    });
    const account = await eventually(
      async () => {
        const entry = await transport.buckets.get("accounts", "shared");
        const text = new TextDecoder().decode(entry?.value);
        return (JSON.parse(text) as { public_key: string }).public_key;
      },
      { name: "the account" },
    );
    // What is in the worker's memory: credentials follow from the key and the id.
    const stolen = issuer.issue(worker, account);
    const steal = () =>
      connect({
        servers: new URL(broker.url).host,
        authenticator: authenticatorOf(() => stolen),
        inboxPrefix: `_INBOX_worker.${worker}`,
        reconnect: false,
      });
    const thief = await steal();
    const isCut = thief.closed();
    const { status } = unpack(
      await transport.bus.request(subjects.down(worker), pack({ type: "status" }), 5_000),
    ) as { status: { pid: number } };
    const from = systemClock.monotonic();
    process.kill(status.pid, "SIGKILL");
    const publish = async () => {
      while (!thief.isClosed()) {
        thief.publish(subjects.beat(worker), pack({ worker, cpu_ms: 1 }));
        await Promise.race([thief.flush(), isCut]);
      }
    };
    await Promise.race([publish().catch(() => undefined), isCut]);
    await isCut;
    // Long before it would have expired; its refusal says that it was not that.
    expect(systemClock.monotonic() - from).toBeLessThan(TTL_MS / 3);
    await expect(steal()).rejects.toThrow(/authorization/i);
    await reading;
  }, 60_000);

  it("goes on when its node is killed: another one renews its credential", async () => {
    const { events, reading, host, worker } = await startLines();
    nodes[host].signal("SIGKILL");
    await reading;
    expectWhole(events);
    expect(worker).not.toBe("");
  }, 90_000);
});
