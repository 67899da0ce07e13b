import * as fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { decideHost } from "../../../actors/tools/decide-host.ts";
import type { ToolOptions } from "../../../actors/tools/tool-options.ts";
import { actorTools } from "../../../actors/tools/tools.ts";
import { openEnvironment } from "../../../executor/sealed-environment.ts";
import type { JobOrder, WorkerSpec } from "../../../protocols/executor.ts";
import { jobKey } from "../../../protocols/job.ts";
import type { Placeholder } from "../../../protocols/placeholder.ts";
import type { NodeRecord } from "../../../protocols/records.ts";
import { subjects } from "../../../protocols/subjects.ts";
import { pack, unpack } from "../../../runtime/ask-codec.ts";
import { systemClock } from "../../../runtime/clock.ts";
import type { CredentialSource } from "../../../runtime/credential-source.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import { newLetterKey } from "../../../runtime/sealing/letter.ts";
import type { Transport } from "../../../runtime/transport.ts";

const node = (id: string, more: Partial<NodeRecord> = {}): NodeRecord => ({
  id,
  incarnation: "i",
  version: "1",
  started_at: 0,
  draining: false,
  drivers: [{ name: "process", max_workers: 4 }],
  kinds: [],
  ...more,
});

const spec = (more: Partial<WorkerSpec> = {}): WorkerSpec => ({
  worker: "wrk_1",
  tenant: "acme",
  tier: "pro",
  slots: 1,
  workspace: "user",
  workspace_key: "u-ann",
  cpus: 1,
  memory_bytes: 1,
  storage_bytes: 1,
  processes: 64,
  network: "user",
  internet: false,
  ...more,
});

describe("decideHost", () => {
  const nodes = ["a", "b", "c", "d"].map((id) => node(id));

  it("brings a kept workspace back to its host while that host lives, whatever others come and go", () => {
    fc.assert(
      fc.property(fc.uuid(), fc.shuffledSubarray(nodes), (key, others) => {
        const kept = spec({ workspace_key: key });
        const home = decideHost(kept, null, nodes);
        const left = nodes.filter((one) => one === home || others.includes(one));
        expect(decideHost({ ...kept, worker: "wrk_2" }, null, left)).toBe(home);
      }),
    );
  });

  it("spreads workers without a workspace of their own over the hosts", () => {
    const hosts = Array.from({ length: 100 }, (_, n) =>
      decideHost(spec({ workspace: "job", worker: `wrk_${n}` }), null, nodes),
    );
    expect(new Set(hosts).size).toBe(4);
  });

  it("takes no node that drains or hosts no driver", () => {
    expect(
      decideHost(spec(), "a", [node("a", { draining: true }), node("b", { drivers: [] })]),
    ).toBeUndefined();
  });

  it("takes the host that has the workspace, also when others have joined, and another when it is gone", () => {
    fc.assert(
      fc.property(fc.uuid(), fc.constantFrom(...nodes), (key, home) => {
        const kept = spec({ workspace_key: key });
        expect(decideHost(kept, home.id, nodes)).toBe(home);
        const others = nodes.filter((one) => one !== home);
        expect(others).toContain(decideHost(kept, home.id, others));
      }),
    );
  });
});

describe("the tools", () => {
  let transport: Transport;
  let hosts: NodeRecord[];
  const call = (tool: string, input: object, more: Partial<ToolOptions> = {}) => {
    const tools = actorTools({
      bus: transport.bus,
      buckets: transport.buckets,
      hosts: () => hosts,
      clock: systemClock,
      logger: silentLogger,
      orderWindowMs: 150,
      ...more,
    });
    const caller = { kind: "session", tenant: "acme", key: "s" };
    const implementation = tools[tool];
    if (!implementation) throw new Error(`no tool ${tool}`);
    return implementation(input, { signal: new AbortController().signal, caller, effect: "e" });
  };
  const serve = (subject: string, answer: (input: Record<string, unknown>) => object) => {
    transport.bus.serve(subject, undefined, (request) => {
      request.reply(pack(answer(unpack(request.data) as Record<string, unknown>)));
    });
  };
  beforeEach(() => {
    transport = connectMemory(new MemoryBroker({ clock: systemClock }));
    hosts = [node("a"), node("b")];
  });

  it("refuse to start a worker where no node offers a driver", async () => {
    hosts = [];
    await expect(call("worker.start", { spec: spec() })).rejects.toMatchObject({
      code: "driver.unavailable",
    });
  });

  it("hand the host's own error on", async () => {
    for (const { id } of hosts) {
      serve(subjects.driver(id, "start"), () => ({
        ok: false,
        error: { code: "driver.failed", message: "no" },
      }));
    }
    await expect(call("worker.start", { spec: spec() })).rejects.toMatchObject({
      code: "driver.failed",
      message: "no",
    });
  });

  it("choose the host that has the workspace, and start the worker there and nowhere else", async () => {
    const chosen = await call("worker.choose-host", { spec: spec(), home: "b" });
    expect(chosen).toEqual({ host: "b" });
    const asked: string[] = [];
    for (const { id } of hosts) {
      serve(subjects.driver(id, "start"), () => {
        asked.push(id);
        return { ok: true, output: { host: id, driver: "process" } };
      });
    }
    await call("worker.start", { spec: spec(), host: "b" });
    expect(asked).toEqual(["b"]);
    hosts = [node("a")];
    await expect(call("worker.start", { spec: spec(), host: "b" })).rejects.toMatchObject({
      code: "driver.unavailable",
    });
    expect(asked).toEqual(["b"]);
  });

  it("end a start when the run of the node that has it is gone, not when its time is up", async () => {
    transport.bus.serve(subjects.driver("a", "start"), undefined, () => {
      hosts = [node("a", { incarnation: "the next" })];
    });
    await expect(call("worker.start", { spec: spec(), host: "a" })).rejects.toMatchObject({
      code: "driver.unavailable",
      message: expect.stringContaining("ended before it could answer"),
    });
  });

  it("tell a worker to end itself whose host has no lease, and say that nobody knows", async () => {
    hosts = [];
    const told: unknown[] = [];
    serve(subjects.down("wrk_1"), (request) => {
      told.push(request);
      return { ok: true };
    });
    const input = { worker: "wrk_1", host: "a", reason: "enough", keep_workspace: true };
    expect(await call("worker.stop", input)).toEqual({ away: true });
    expect(told).toEqual([{ type: "stop", reason: "enough" }]);
    expect(await call("worker.stop", { ...input, worker: "wrk_2" })).toEqual({ away: true });
  });

  it("ask every host to stop a worker whose host nobody knows", async () => {
    const asked: string[] = [];
    for (const { id } of hosts) {
      serve(subjects.driver(id, "stop"), () => {
        asked.push(id);
        return { ok: true, output: {} };
      });
    }
    await call("worker.stop", { worker: "wrk_1", host: null, reason: "", keep_workspace: false });
    expect(asked.toSorted()).toEqual(["a", "b"]);
  });

  it("call workers lost that their host does not have, and away those of an absent host that do not answer", async () => {
    hosts = [node("a"), node("mute")];
    serve(subjects.driver("a", "verify"), () => ({
      ok: true,
      output: { lost: ["w2"], cpu_ms: { w1: 5 } },
    }));
    serve(subjects.down("w5"), () => ({
      ok: true,
      status: { worker: "w5", jobs: [], pid: 1, uptime_ms: 1, cpu_ms: 7, memory_bytes: 1 },
    }));
    const workers = [
      { worker: "w1", host: "a" },
      { worker: "w2", host: "a" },
      { worker: "w3", host: "mute" },
      { worker: "w4", host: "dead" },
      { worker: "w5", host: "dead" },
    ];
    expect(await call("worker.verify", { workers })).toEqual({
      lost: ["w2"],
      away: ["w4"],
      cpu_ms: { w1: 5, w5: 7 },
    });
  });

  const attempt = { worker: "wrk_1", job_id: "job_1", attempt: 1 };
  const run = {
    ...attempt,
    session_id: "ses_1",
    tenant: "acme",
    user: "ann",
    agent_session: "abc",
  };
  const store = (more: object = {}) => {
    const id = (prefix: string) => `${prefix}_${"0".repeat(26)}`;
    const record = {
      id: id("job"),
      tenant: "acme",
      user: "ann",
      session_id: id("ses"),
      agent: "echo",
      tier: "pro",
      prompt: "secret plan",
      timeout_ms: 5,
      created_at: 1,
      state: "queued",
      attempt: 1,
      started_at: null,
      finished_at: null,
      exit_code: null,
      error: null,
      usage: null,
      ...more,
    };
    const value = new TextEncoder().encode(JSON.stringify(record));
    return transport.buckets.put("jobs", jobKey("acme", "ann", "job_1"), value);
  };

  it("send an order with the prompt from the job's record, again while the worker is busy", async () => {
    await store();
    const got: unknown[] = [];
    serve(subjects.down("wrk_1"), (request) => {
      got.push(request["order"]);
      return got.length < 2
        ? { ok: false, error: { code: "worker.busy", message: "" } }
        : { ok: true };
    });
    expect(await call("session.run-attempt", run)).toEqual({});
    expect(got).toHaveLength(2);
    expect(got[1]).toMatchObject({
      job_id: "job_1",
      prompt: "secret plan",
      timeout_ms: 5,
      agent_session: "abc",
      env: {},
    });
  });

  describe("give an agent its user's keys", () => {
    const CANARY = "sk-canary-0123456789abcdefghij";
    const worker = newLetterKey();
    const source =
      (stored: Record<string, string>): CredentialSource["open"] =>
      ({ tenant, user, provider }) =>
        Promise.resolve(tenant === "acme" && user === "ann" ? stored[provider] : undefined);
    const orders: JobOrder[] = [];
    const runWith = async (
      options: Partial<ToolOptions>,
      job: object,
      status: object = { sealing_key: worker.publicKey },
    ) => {
      await store(job);
      orders.length = 0;
      serve(subjects.down("wrk_1"), (request) => {
        if (request["type"] === "run") orders.push(request["order"] as JobOrder);
        const base = { worker: "w", jobs: [], pid: 1, uptime_ms: 1, cpu_ms: 1, memory_bytes: 1 };
        return request["type"] === "status"
          ? { ok: true, status: { ...base, ...status } }
          : { ok: true };
      });
      await call("session.run-attempt", run, options);
      return orders[0];
    };
    const opened = (order: JobOrder | undefined) =>
      order && openEnvironment(worker, "wrk_1", order);

    it("sealed for the attempt's worker, and nowhere in the order as they are", async () => {
      const credentials = { open: source({ claude_api: CANARY, openai: "other" }) };
      const order = await runWith({ credentials }, { agent: "claude" });
      expect(opened(order)).toEqual({ CLAUDE_API_KEY: CANARY, ANTHROPIC_API_KEY: CANARY });
      expect(order?.env).toEqual({});
      expect(Buffer.from(pack(order)).includes(CANARY)).toBe(false);
      const other = { ...order, attempt: 2 } as JobOrder;
      expect(() => openEnvironment(worker, "wrk_1", other)).toThrow(/not sealed for this attempt/);
    });

    it("one of the agent's providers, and those that the job names", async () => {
      const open = source({ claude_oauth: "oauth", claude_api: "api", mistral: "m" });
      const job = { agent: "claude", credentials: ["mistral"] };
      const order = await runWith({ credentials: { open } }, job);
      expect(opened(order)).toEqual({ CLAUDE_CODE_OAUTH_TOKEN: "oauth", MISTRAL_API_KEY: "m" });
    });

    it("none when it takes none: then the worker is not asked for a key", async () => {
      const credentials = { open: source({ openai: CANARY }) };
      const order = await runWith({ credentials }, { agent: "shell" }, {});
      expect(order?.sealed_env).toBeUndefined();
    });

    it("in the place of the deployment's own, which goes the same sealed way", async () => {
      const shared = { ANTHROPIC_API_KEY: "shared", ANTHROPIC_BASE_URL: "http://x" };
      const options = { agentEnvironment: () => shared };
      const without = await runWith(
        { ...options, credentials: { open: source({}) } },
        { agent: "claude" },
      );
      expect(opened(without)).toEqual(shared);
      expect(without?.env).toEqual({});
      const open = source({ claude_oauth: "own" });
      const own = await runWith({ ...options, credentials: { open } }, { agent: "claude" });
      expect(opened(own)).toEqual({
        CLAUDE_CODE_OAUTH_TOKEN: "own",
        ANTHROPIC_BASE_URL: "http://x",
      });
    });

    it("as placeholders where the tenant's keys are brokered: then no key is opened for it, its own or the deployment's", async () => {
      const tenant = { id: "acme", name: "A", tier: "pro", suspended: false, created_at: 1 };
      const value = new TextEncoder().encode(JSON.stringify({ ...tenant, keys: "brokered" }));
      await transport.buckets.put("tenants", "acme", value);
      const opening: unknown[] = [];
      const made: Placeholder[] = [];
      const options: Partial<ToolOptions> = {
        agentEnvironment: () => ({ ANTHROPIC_API_KEY: "shared" }),
        credentials: {
          open(request) {
            opening.push(request);
            return Promise.resolve(CANARY);
          },
        },
        placeholders: {
          stored: ({ provider }) => Promise.resolve(provider !== "claude_oauth"),
          make(content) {
            made.push(content);
            return `placeholder of ${content.provider}`;
          },
        },
      };
      const order = await runWith(options, { agent: "claude", timeout_ms: 5_000 });
      const placeholder = "placeholder of claude_api";
      expect(opened(order)).toEqual({
        CLAUDE_API_KEY: placeholder,
        ANTHROPIC_API_KEY: placeholder,
      });
      expect(order?.brokered).toEqual(["claude_api"]);
      const whose = { tenant: "acme", user: "ann", worker: "wrk_1", attempt: 1 };
      expect(made).toMatchObject([{ ...whose, provider: "claude_api" }]);
      // Of a provider that cannot be brokered nothing is given, and without a maker of placeholders nothing at all.
      const named = { agent: "shell", credentials: ["mistral"] };
      await expect(runWith(options, named)).rejects.toMatchObject({
        code: "agent.credential_missing",
      });
      const { placeholders: _, ...without } = options;
      const bare = await runWith(without, { agent: "claude" });
      expect([bare?.sealed_env, bare?.brokered]).toEqual([undefined, []]);
      expect(opening).toEqual([]);
    });

    it("or fail: a worker of a build without a key gets no order, and a job whose named key is missing neither", async () => {
      const credentials = { open: source({ openai: CANARY }) };
      const job = { credentials: ["openai"] };
      await expect(runWith({ credentials }, job, {})).rejects.toMatchObject({
        code: "worker.outdated",
      });
      const bad = { sealing_key: Buffer.alloc(32).toString("base64url") };
      await expect(runWith({ credentials }, job, bad)).rejects.toMatchObject({
        code: "worker.outdated",
      });
      await expect(runWith({ credentials }, { credentials: ["gemini"] })).rejects.toMatchObject({
        code: "agent.credential_missing",
        message: expect.stringContaining("gemini"),
      });
      expect(orders).toEqual([]);
    });
  });

  it("call a worker lost that nobody answers for, and a refusal by its name", async () => {
    await store();
    await expect(call("session.run-attempt", run)).rejects.toMatchObject({ code: "worker.lost" });
    serve(subjects.down("wrk_1"), () => ({
      ok: false,
      error: { code: "job.not_running", message: "" },
    }));
    await expect(call("session.cancel-attempt", { ...attempt, by: "ann" })).rejects.toMatchObject({
      code: "job.not_running",
    });
  });
});
