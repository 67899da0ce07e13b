/** Programs that agents are or use, as they are in the image of workers: which of them go by the proxy that the environment names. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { claude } from "../../../executor/agents/claude.ts";
import { codex } from "../../../executor/agents/codex.ts";
import { agentEnvironment } from "../../../executor/environment.ts";
import { describeDocker } from "../../support/docker.ts";
import { type EgressRig, egressRig } from "../../support/egress-rig.ts";
import { eventually } from "../../support/eventually.ts";
import { orderOf } from "../../support/executor-rig.ts";
import {
  type TestWorker,
  type WorkerNetworks,
  workerNetworks,
} from "../../support/worker-networks.ts";

const PROXY_PORT = 14_223;
const PATH = "/opt/agents/node_modules/.bin:/usr/local/bin:/usr/bin:/bin";

/** Runs a command with an environment and an input, however it ends, for ten seconds at most. */
const TRY = `
  const { spawnSync } = require("node:child_process");
  const { command, env, input } = JSON.parse(process.argv[1]);
  require("node:fs").mkdirSync(env.HOME, { recursive: true });
  const { stdout, stderr } = spawnSync("timeout", ["10", ...command], { env, cwd: env.HOME, input });
  process.stdout.write(String(stdout) + String(stderr));`;

describeDocker("the proxy of a worker's network", () => {
  let rig: WorkerNetworks;
  let egress: EgressRig;
  let worker: TestWorker;

  beforeAll(async () => {
    egress = egressRig({ resolve: () => Promise.reject(new Error("nothing is listed")) });
    rig = workerNetworks();
    const networks = await rig.open({
      proxy: { port: PROXY_PORT, accept: (near) => egress.proxy.accept(near) },
    });
    const ann = { kind: "user", tenant: "acme", user: "ann" } as const;
    worker = await rig.startWorker(networks, ann, { internet: false });
  });
  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
  });

  /** The environment that an agent has, and with it all that it starts. */
  const environment = (name: string, more: Readonly<Record<string, string>> = {}) => {
    const { gateway } = worker.network;
    const [user, token] = Buffer.from(egress.admit("w1", gateway).slice(6), "base64")
      .toString()
      .split(":");
    const home = `/tmp/${name}`;
    return agentEnvironment({
      ...{ inherited: {}, path: PATH, worker: "w1", extra: {} },
      order: orderOf("shell", "", { env: { ...more } }),
      place: { work: home, home, tmp: "/tmp", isolated: true },
      proxyUrl: `http://${user}:${token}@${gateway}:${PROXY_PORT}`,
    });
  };
  const attempt = (name: string, command: readonly string[], more = {}, input = "") =>
    worker.run(TRY, JSON.stringify({ command, env: environment(name, more), input }));
  const hosts = () => egress.denied.map(({ host }) => host);

  const python = "import urllib.request as r; r.urlopen('https://python.tool.test/')";
  test.each([
    { name: "curl", command: ["curl", "-s", "https://curl.tool.test/"] },
    { name: "git", command: ["git", "ls-remote", "https://git.tool.test/x.git"] },
    { name: "python", command: ["python3", "-c", python] },
  ])("is used by $name", async ({ name, command }) => {
    await attempt(name, command);
    expect(hosts()).toContain(`${name}.tool.test`);
  });

  test.each([
    {
      agent: claude,
      env: { ANTHROPIC_API_KEY: "k", ANTHROPIC_BASE_URL: "https://claude.tool.test" },
    },
    { agent: codex, env: { OPENAI_API_KEY: "k", OPENAI_BASE_URL: "https://codex.tool.test/v1" } },
  ])("is used by $agent.name", async ({ agent, env }) => {
    const home = `/tmp/${agent.name}`;
    const place = { work: home, home, tmp: "/tmp", isolated: true };
    const {
      command,
      args,
      env: extra,
    } = agent.launch(orderOf(agent.name, "hello", { env }), place);
    const running = attempt(agent.name, [command, ...args], { ...env, ...extra }, "hello");
    await eventually(() => expect(hosts()).toContain(`${agent.name}.tool.test`), {
      within: 20_000,
    });
    await running;
  });

  test("is used by Node's own fetch from 24 on; before, it gets nowhere", async () => {
    const version = Number(
      await worker.run("process.stdout.write(process.versions.node.split('.')[0])"),
    );
    const script = "fetch('https://fetch.tool.test/').catch(() => console.log('no way'))";
    expect(await attempt("fetch", ["node", "-e", script])).toContain("no way");
    expect(hosts().includes("fetch.tool.test")).toBe(version >= 24);
  });
});
