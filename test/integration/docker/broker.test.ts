/** Agents that work with a key that they do not have: the real command line tools in real containers, in front of a provider that speaks TLS. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { claude } from "../../../executor/agents/claude.ts";
import { codex } from "../../../executor/agents/codex.ts";
import { brokeredAddresses } from "../../../executor/brokered-addresses.ts";
import { agentEnvironment } from "../../../executor/environment.ts";
import { BROKERED_PROVIDERS } from "../../../protocols/brokered.ts";
import { environmentNames } from "../../../protocols/credentials.ts";
import { certificateFor } from "../../support/certificate.ts";
import { describeDocker, docker } from "../../support/docker.ts";
import { type EgressRig, egressRig } from "../../support/egress-rig.ts";
import { orderOf } from "../../support/executor-rig.ts";
import { type ModelStub, startModelStub } from "../../support/model-stub.ts";
import {
  type TestWorker,
  type WorkerNetworks,
  workerNetworks,
} from "../../support/worker-networks.ts";

const PROVIDER = "api.provider.test";
const PROXY_PORT = 14_223;
const KEY = `sk-canary-${randomBytes(12).toString("hex")}`;
const BEARER = `Bearer ${KEY}`;
const SLOW = 90_000;
/** Has the agent look for the key by its own shell, in its own processes, while it works with it. */
const PROMPT =
  "hello there RUN: cat /proc/[0-9]*/environ | grep -a -o 'sk-cana[r]y-[0-9a-f]*'; echo sear''ched";

/** Runs a program with an environment and an input, and prints its output. */
const RUN = `
  const { spawn } = require("node:child_process");
  const { command, args, env, input } = JSON.parse(process.argv[1]);
  require("node:fs").mkdirSync(env.HOME, { recursive: true });
  const child = spawn("/opt/agents/node_modules/.bin/" + command, args, { env, cwd: env.HOME, stdio: ["pipe", "pipe", "inherit"] });
  child.stdout.pipe(process.stdout);
  child.stdin.end(input);
  child.on("exit", (code) => { process.exitCode = code; });`;

/** Looks for the key, told in two halves, in every file and every process that it may read. */
const SEARCH = `
  const { spawnSync } = require("node:child_process");
  const key = process.argv[1] + process.argv[2];
  const { readdirSync, readFileSync } = require("node:fs");
  const found = [];
  const look = (path) => { try { if (readFileSync(path).includes(key)) found.push(path); } catch {} };
  for (const pid of readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name)))
    for (const file of ["environ", "cmdline"]) look("/proc/" + pid + "/" + file);
  const places = ["/tmp", "/home", "/berth", "/var", "/etc", "/run", "/dev/shm"];
  const { stdout } = spawnSync("find", [...places, "-type", "f", "-readable"], { maxBuffer: 1e8 });
  const files = String(stdout).split("\\n").filter(Boolean);
  if (files.length < 10) throw new Error("too few files were looked at");
  for (const path of files) look(path);
  process.stdout.write(JSON.stringify(found));`;

describeDocker("an agent whose key is brokered", () => {
  let rig: WorkerNetworks;
  let egress: EgressRig;
  let stub: ModelStub;
  let worker: TestWorker;

  beforeAll(async () => {
    const certificate = await certificateFor(PROVIDER);
    stub = await startModelStub(certificate);
    const providers = Object.fromEntries(
      Object.entries(BROKERED_PROVIDERS).map(([name, row]) => [
        name,
        { ...row, origin: `https://${PROVIDER}:${stub.port}` },
      ]),
    );
    const resolve = () => Promise.resolve(["127.0.0.1"]);
    egress = egressRig({ resolve, providers, ca: certificate.cert });
    egress.allow("listed", { host: PROVIDER, ports: [stub.port], allow_private: true });
    rig = workerNetworks();
    const networks = await rig.open({
      proxy: { port: PROXY_PORT, accept: (near) => egress.proxy.accept(near) },
    });
    const ann = { kind: "user", tenant: "acme", user: "ann" } as const;
    worker = await rig.startWorker(networks, ann, { internet: false });
    egress.admit("w1", worker.network.gateway);
    for (const name of Object.keys(providers)) egress.keys.set(`acme/ann/${name}`, KEY);
  });
  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await stub?.[Symbol.asyncDispose]();
  });

  /** As an executor starts it. */
  const runAgent = (
    agent: typeof claude,
    provider: string,
    order: Parameters<typeof orderOf>[2],
  ) => {
    const { gateway } = worker.network;
    const home = `/tmp/${agent.name}-${provider}`;
    const place = { work: home, home, tmp: "/tmp", isolated: true };
    const proxyUrl = `http://w1:token-of-w1@${gateway}:${PROXY_PORT}`;
    const given = orderOf(agent.name, PROMPT, order);
    const placeholder = egress.placeholder(provider);
    const env = {
      ...Object.fromEntries(environmentNames(provider).map((name) => [name, placeholder])),
      ...brokeredAddresses([provider], proxyUrl),
    };
    const launch = agent.launch({ ...given, env }, place);
    const path = "/opt/agents/node_modules/.bin:/usr/local/bin:/usr/bin:/bin";
    const whole = agentEnvironment({
      ...{ inherited: {}, path, worker: "w1", place, proxyUrl },
      order: { ...given, env },
      extra: launch.env,
    });
    const input = launch.stdin === "open" ? "" : launch.stdin.text;
    const { command, args } = launch;
    return worker.run(RUN, JSON.stringify({ command, args, env: whole, input }));
  };

  test.each([
    { agent: claude, provider: "claude_api", header: "x-api-key", value: KEY, order: {} },
    { agent: claude, provider: "claude_oauth", header: "authorization", value: BEARER, order: {} },
    {
      agent: codex,
      provider: "openai",
      header: "authorization",
      value: BEARER,
      order: { model: "gpt-5-codex" },
    },
  ])(
    "$agent.name with $provider gets its answer, and the key is at the provider and nowhere in the container",
    { timeout: SLOW },
    async ({ agent, provider, header, value, order }) => {
      const before = stub.requests.length;
      const said = await runAgent(agent, provider, order);
      expect(said).toContain("echo: hello there");
      expect(said).toContain("searched");
      const requests = stub.requests.slice(before);
      expect(requests.length).toBeGreaterThan(0);
      for (const { headers } of requests) {
        expect(headers[header]).toBe(value);
        expect(JSON.stringify(headers)).not.toContain("berth-placeholder");
      }
      expect(said).not.toContain(KEY);
      const half = KEY.length / 2;
      const found = await worker.run(SEARCH, KEY.slice(0, half), KEY.slice(half));
      expect(JSON.parse(found)).toEqual([]);
      // What it looks for it finds where it is.
      await worker.run('require("node:fs").writeFileSync("/tmp/planted", "pl" + "anted-key")');
      expect(JSON.parse(await worker.run(SEARCH, "plant", "ed-key"))).toEqual(["/tmp/planted"]);
      const inspected = JSON.stringify(await docker.getContainer(worker.name).inspect());
      expect(inspected).not.toContain(KEY);
    },
  );

  test("does not get the key by asking for it: not by the tunnel, which it fills itself, nor from another worker's network", async () => {
    const ASK = `
      const [url, placeholder] = process.argv.slice(1);
      fetch(url, { headers: { "x-api-key": placeholder, authorization: "Bearer " + placeholder } })
        .then(async (answer) => process.stdout.write(answer.status + " " + await answer.text()));`;
    const url = (host: string) => `http://${host}:${PROXY_PORT}/broker/anthropic/v1/models`;
    const { gateway } = worker.network;
    const genuine = egress.placeholder("claude_api");
    const said = await worker.run(ASK, url(gateway), genuine);
    expect(said).toMatch(/^404 /);
    expect(said).not.toContain(KEY);
    egress.admit("w2", "192.0.2.1");
    const foreign = egress.placeholder("claude_api", { worker: "w2" });
    expect(await worker.run(ASK, url(gateway), foreign)).toMatch(/^401 /);
    egress.ended.add("job-1");
    expect(await worker.run(ASK, url(gateway), genuine)).toMatch(/^401 /);
  });
});
