/** A gateway over a real node with all actors; workers and agents are played by `FakeExecutor`. */

import type { ActorSettings } from "../../actors/options.ts";
import { actorDefinitions } from "../../actors/registry.ts";
import { tenantUsersTool } from "../../actors/tools/tenant-users.ts";
import { hashKey } from "../../gateway/auth/access.ts";
import type { GatewayConfig, Tuning } from "../../gateway/config.ts";
import { type Gateway, startGateway } from "../../gateway/server.ts";
import { Session } from "../../protocols/actors/session.ts";
import type { DraftEvent, Outcome } from "../../protocols/events.ts";
import type { JobOrder } from "../../protocols/executor.ts";
import type { ApiKeyRecord, Scope, TenantRecord } from "../../protocols/records.ts";
import { type Tier, tierTable } from "../../protocols/tiers.ts";
import { auditOf } from "../../runtime/audit.ts";
import type { Client } from "../../runtime/client.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { MemoryBroker } from "../../runtime/memory/broker.ts";
import { connectMemory } from "../../runtime/memory/transport.ts";
import { type Metrics, noMetrics } from "../../runtime/metrics.ts";
import { type RunningNode, startNode } from "../../runtime/node.ts";
import type { Tools } from "../../runtime/tools.ts";
import type { Transport } from "../../runtime/transport.ts";

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

type Order = Pick<JobOrder, "job_id" | "attempt" | "tenant" | "session_id"> & { worker: string };

/** One attempt, played by a test: frames as an executor sends them. */
export class FakeAttempt {
  readonly order: Order;
  readonly #client: Client;
  #frame = 0;
  #ended = false;
  #offset = 0;

  constructor(order: Order, client: Client) {
    this.order = order;
    this.#client = client;
  }

  async send(events: DraftEvent[], outcome?: Outcome): Promise<void> {
    if (this.#ended) return;
    this.#ended = outcome !== undefined;
    this.#frame += 1;
    const { worker, job_id, attempt, tenant, session_id } = this.order;
    await this.#client.actor(Session, tenant, session_id).frame({
      worker,
      job_id,
      attempt,
      frame: this.#frame,
      events,
      ...(outcome ? { outcome } : {}),
    });
  }

  start(): Promise<void> {
    const { worker, attempt } = this.order;
    return this.send([{ type: "job.started", at: Date.now(), data: { worker, attempt } }]);
  }

  async print(...lines: string[]): Promise<void> {
    const events = lines.map((text): DraftEvent => {
      const offset = this.#offset;
      this.#offset += text.length;
      return {
        type: "agent.output",
        at: Date.now(),
        data: { stream: "stdout", text, offset },
      };
    });
    await this.send(events);
  }

  succeed(): Promise<void> {
    return this.send([], { state: "succeeded", exit_code: 0 });
  }
}

/** Starts workers at once; attempts wait for the test, or print their prompt when it begins with "echo". */
class FakeExecutor {
  readonly attempts = new Map<string, FakeAttempt>();
  readonly #waiters = new Map<string, (attempt: FakeAttempt) => void>();
  client: Client | undefined;
  /** A test that looks at starts holds them. */
  startsAfter: Promise<void> = Promise.resolve();

  attempt(jobId: string): Promise<FakeAttempt> {
    const known = this.attempts.get(jobId);
    if (known) return Promise.resolve(known);
    return new Promise((resolve) => this.#waiters.set(jobId, resolve));
  }

  tools(): Tools {
    return {
      "worker.choose-host": () => Promise.resolve({ host: "rig" }),
      "worker.start": async () => {
        await this.startsAfter;
        return { host: "rig", driver: "fake" };
      },
      "worker.stop": () => Promise.resolve({}),
      "worker.verify": () => Promise.resolve({ lost: [], cpu_ms: {} }),
      "workspace.remove": () => Promise.resolve({}),
      "session.run-attempt": (input) => {
        const order = input as Order;
        if (!this.client) throw new Error("no client");
        const attempt = new FakeAttempt(order, this.client);
        this.attempts.set(order.job_id, attempt);
        this.#waiters.get(order.job_id)?.(attempt);
        return Promise.resolve({});
      },
      "session.cancel-attempt": async (input) => {
        const { job_id } = input as { job_id: string };
        await this.attempts.get(job_id)?.send([], { state: "cancelled", processes_killed: 1 });
        return {};
      },
    };
  }
}

export interface GatewayRig extends AsyncDisposable {
  readonly gateway: Gateway;
  readonly url: string;
  readonly transport: Transport;
  readonly node: RunningNode;
  readonly executor: FakeExecutor;
  readonly keys: Record<Tier | "operator" | "other" | "admin", string>;
  /** Another gateway over the same broker. */
  readonly another: (tuning?: Partial<Tuning>) => Promise<Gateway>;
  addKey(key: string, record: Partial<ApiKeyRecord>): Promise<void>;
  readonly api: (method: string, path: string, options?: ApiOptions) => Promise<Response>;
  readonly submit: (prompt: string, key?: string) => Promise<{ id: string; session_id: string }>;
}

export interface ApiOptions {
  readonly key?: string | null;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}

export interface RigOptions {
  readonly transport?: () => Promise<Transport>;
  readonly tuning?: Partial<Tuning>;
  readonly config?: Partial<GatewayConfig>;
  readonly actors?: Omit<ActorSettings, "tiers">;
  readonly tiers?: Parameters<typeof tierTable>[0];
  /** Of the gateways. */
  readonly metrics?: Metrics;
}

export async function startGatewayRig(options: RigOptions = {}): Promise<GatewayRig> {
  const connect = options.transport ?? (() => Promise.resolve(connectMemory(broker)));
  const broker = new MemoryBroker({ clock: systemClock, partitions: 4 });
  const tiers = tierTable({ free: { minWorkers: 1 }, ...options.tiers });
  const executor = new FakeExecutor();
  const nodeTransport = await connect();
  const node = await startNode({
    transport: nodeTransport,
    definitions: actorDefinitions({ tiers, ...options.actors }),
    tools: {
      ...executor.tools(),
      ...tenantUsersTool({ buckets: nodeTransport.buckets, clock: systemClock }),
    },
    clock: systemClock,
    logger: silentLogger,
    metrics: noMetrics,
    random: Math.random,
    nodeId: "rig",
    version: "0.0.0",
    drivers: [{ name: "fake", max_workers: 10 }],
  });
  executor.client = node.client;
  const keys = await seed(nodeTransport);
  const transports = [nodeTransport];
  const gateways: Gateway[] = [];
  const open = async (tuning?: Partial<Tuning>) => {
    const transport = await connect();
    transports.push(transport);
    const gateway = await startGateway({
      client: node.client,
      transport,
      clock: systemClock,
      logger: silentLogger,
      metrics: options.metrics ?? noMetrics,
      metricsText: () => Promise.resolve("berth_up 1\n"),
      tiers,
      deadLetters: transport.deadLetters,
      audit: auditOf({ store: transport.audit, clock: systemClock, random: Math.random }),
      config: {
        host: "127.0.0.1",
        port: 0,
        metricsPort: 0,
        version: "0.0.0",
        agents: ["echo", "shell"],
        ...options.config,
        tuning: { askTimeoutMs: 2_000, drainMs: 2_000, freshMs: 500, ...options.tuning, ...tuning },
      },
    });
    gateways.push(gateway);
    return gateway;
  };
  const gateway = await open();

  const api: GatewayRig["api"] = (method, path, { key = keys.pro, body, headers } = {}) =>
    fetch(`${gateway.url}${path}`, {
      method,
      headers: {
        ...(key === null ? {} : { authorization: `Bearer ${key}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined
        ? {}
        : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
  return {
    gateway,
    url: gateway.url,
    transport: nodeTransport,
    node,
    executor,
    keys,
    another: open,
    addKey: (key, record) => addKey(nodeTransport, key, record),
    api,
    async submit(prompt, key) {
      const answer = await api("POST", "/v1/jobs", {
        body: { agent: "shell", prompt },
        ...(key === undefined ? {} : { key }),
      });
      if (answer.status !== 202) throw new Error(`${answer.status} ${await answer.text()}`);
      return (await answer.json()) as { id: string; session_id: string };
    },
    async [Symbol.asyncDispose]() {
      for (const each of gateways) await each.close();
      await node.stop();
      for (const transport of transports) await transport.close();
    },
  };
}

async function addKey(transport: Transport, key: string, record: Partial<ApiKeyRecord>) {
  const full: ApiKeyRecord = {
    id: `key_${key}`,
    name: key,
    user: "u1",
    scope: "user",
    created_at: 1,
    expires_at: null,
    revoked: false,
    ...record,
  };
  await transport.buckets.put("keys", hashKey(key), encode(full));
}

async function seed(transport: Transport): Promise<GatewayRig["keys"]> {
  const tenants: [string, Tier][] = [
    ["t-free", "free"],
    ["t-pro", "pro"],
    ["t-ent", "enterprise"],
  ];
  for (const [id, tier] of tenants) {
    const tenant: TenantRecord = { id, name: id, tier, suspended: false, created_at: 1 };
    await transport.buckets.put("tenants", id, encode(tenant));
  }
  const rows: [keyof GatewayRig["keys"], string | undefined, string, Scope][] = [
    ["free", "t-free", "u1", "user"],
    ["pro", "t-pro", "u1", "user"],
    ["enterprise", "t-ent", "u1", "user"],
    ["other", "t-pro", "u2", "user"],
    ["admin", "t-pro", "boss", "tenant_admin"],
    ["operator", undefined, "op", "operator"],
  ];
  for (const [name, tenant, user, scope] of rows) {
    await addKey(transport, `key-${name}`, { user, scope, ...(tenant ? { tenant } : {}) });
  }
  return Object.fromEntries(rows.map(([name]) => [name, `key-${name}`])) as GatewayRig["keys"];
}
