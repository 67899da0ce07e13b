/** The adapters with the real command line tools, in front of a stand-in for the models. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../../support/eventually.ts";
import {
  type Broker,
  NodeDouble,
  orderOf,
  startBroker,
  startWorker,
  type WorkerRig,
} from "../../support/executor-rig.ts";
import { type ModelStub, startModelStub } from "../../support/model-stub.ts";

const BIN = join(import.meta.dirname, "../../../.berth/cache/agents/node_modules/.bin");
const MISSING = ["claude", "codex"].filter((name) => !existsSync(join(BIN, name)));
if (MISSING.length > 0)
  process.stderr.write(`SKIPPED: ${MISSING.join(" and ")} not installed in .berth/cache/agents\n`);

/** Whose shell tool the stand-in can call; the newest ones are given a scripting tool instead. */
const MODELS = { claude: {}, codex: { model: "gpt-5-codex" } };
/** `node` as well: one of the tools is a script. */
const PATH = [BIN, dirname(process.execPath), "/usr/bin", "/bin"].join(":");
const SLOW = 60_000;

let broker: Broker;
let node: NodeDouble;
let stub: ModelStub;
let worker: WorkerRig;
let isolated: WorkerRig;

beforeAll(async () => {
  broker = await startBroker();
  node = await NodeDouble.open(broker);
  stub = await startModelStub();
  worker = await startWorker(broker, node, { mode: "user", path: PATH });
  isolated = await startWorker(broker, node, {
    path: PATH,
    workspace: { root: join(worker.root, "isolated"), mode: "job", isolated: true },
  });
});
afterAll(async () => {
  for (const rig of [isolated, worker, node, stub, broker]) await rig?.[Symbol.asyncDispose]();
});

const ENVIRONMENTS = {
  claude: () => ({ ANTHROPIC_API_KEY: "key-of-ann", ANTHROPIC_BASE_URL: stub.url }),
  codex: () => ({ OPENAI_API_KEY: "key-of-ann", OPENAI_BASE_URL: `${stub.url}/v1` }),
};

describe.each(["claude", "codex"] as const)("%s", (agent) => {
  const skip = MISSING.includes(agent);
  const order = (prompt: string, overrides = {}) =>
    orderOf(agent, prompt, { env: ENVIRONMENTS[agent](), ...MODELS[agent], ...overrides });
  const messages = (log: Awaited<ReturnType<NodeDouble["run"]>>) =>
    log.events
      .filter(({ type, data }) => type === "agent.message" && data["partial"] === undefined)
      .map(({ data }) => data["text"]);

  it.skipIf(skip)(
    "answers, reports its usage, and resumes its conversation",
    { timeout: SLOW },
    async () => {
      const first = await node.run(worker.id, order("hello there"), SLOW);
      expect(first.outcome).toMatchObject({
        state: "succeeded",
        exit_code: 0,
        usage: { input_tokens: 11, output_tokens: 5 },
      });
      expect(messages(first).join("")).toContain("echo: hello there");
      expect(first.agentSession).toMatch(/^[0-9a-f-]{36}$/);
      const second = await node.run(
        worker.id,
        order("and again", { agent_session: first.agentSession }),
        SLOW,
      );
      expect(second.outcome).toMatchObject({ state: "succeeded" });
      expect(second.agentSession).toBe(first.agentSession);
      // The model was shown the earlier turn.
      expect(JSON.stringify(stub.requests.at(-1)?.body)).toContain("hello there");
    },
  );

  it.skipIf(skip)(
    "starts afresh, and says so, when its conversation is gone",
    { timeout: SLOW },
    async () => {
      const log = await node.run(
        worker.id,
        order("new", { agent_session: "11111111-1111-1111-1111-111111111111" }),
        SLOW,
      );
      expect(log.outcome).toMatchObject({ state: "succeeded" });
      expect(messages(log)[0]).toContain("starts afresh");
    },
  );

  it.skipIf(skip)("takes a prompt of 256 KiB", { timeout: SLOW }, async () => {
    const log = await node.run(worker.id, order(`start ${"x".repeat(256 * 1024 - 6)}`), SLOW);
    expect(log.outcome).toMatchObject({ state: "succeeded" });
    expect(messages(log).join("")).toContain("echo: start xxx");
  });

  it.skipIf(skip)(
    "fails with the API's words when the API refuses",
    { timeout: SLOW },
    async () => {
      const log = await node.run(worker.id, order("FAIL: 400"), SLOW);
      expect(log.outcome).toMatchObject({
        state: "failed",
        error: { code: "agent.failed", message: expect.stringContaining("the stub refuses") },
      });
    },
  );

  it.skipIf(skip)(
    "runs a tool unasked where a container is around it",
    { timeout: SLOW },
    async () => {
      const log = await node.run(isolated.id, order("RUN: echo made-$((40+2))"), SLOW);
      expect(log.outcome).toMatchObject({ state: "succeeded" });
      const tools = log.events.filter(({ type }) => type === "agent.tool");
      expect(tools.map(({ data }) => data["phase"])).toEqual(["call", "result"]);
      expect(JSON.stringify(tools[1]?.data)).toContain("made-42");
    },
  );

  it.skipIf(skip)("is gone when it is cancelled", { timeout: SLOW }, async () => {
    const long = order("RUN: sleep 1000");
    await node.tell(isolated.id, { type: "run", order: long });
    const log = node.session(long.session_id);
    await eventually(() => log.events.some(({ type }) => type === "agent.tool"), {
      name: "tool runs",
      within: 20_000,
    });
    await node.tell(isolated.id, { type: "cancel", job_id: long.job_id, attempt: 1, by: "ann" });
    expect((await node.over(long)).outcome).toMatchObject({ state: "cancelled" });
  });

  it.skipIf(skip)("never shows its key in an event", () => {
    expect(JSON.stringify([...node.sessions.values()].map(({ events }) => events))).not.toContain(
      "key-of-ann",
    );
    expect(
      stub.requests.some(({ headers }) => JSON.stringify(headers).includes("key-of-ann")),
    ).toBe(true);
  });
});
