/**
 * A user's key is planted in the vault and used by a job in a container; then everything that is not the agent's own
 * process is searched for it, in the forms that it could have. Then it is planted in each of those places: the search finds it.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, credsAuthenticator, type NatsConnection } from "@nats-io/transport-node";
import { expect, test } from "vitest";
import type { BerthClient } from "../../../gateway/client.ts";
import { isTerminal } from "../../../protocols/job.ts";
import { CanarySearch, newCanary } from "../../support/canary.ts";
import { describeDocker, docker, EXECUTOR_IMAGE } from "../../support/docker.ts";
import { type DockerBerth, follow, spawnDockerBerth } from "../../support/docker-berth.ts";
import { eventually } from "../../support/eventually.ts";

const TEST_MS = 240_000;
const JOB_MS = 60_000;
const MIB = 1024 ** 2;
const SMALL = { storageBytes: 64 * MIB, memoryBytes: 256 * MIB, cpus: 1 };
const TIERS = {
  free: { minWorkers: 1, maxWorkers: 1, dormantWorkers: 0, ...SMALL },
  pro: { dormantWorkers: 0, ...SMALL },
  enterprise: { minWorkers: 0 },
};
/** Says that it has the key, and waits. */
const PROOF = `printf %s "$OPENAI_API_KEY" | sha256sum | cut -c1-64
printf %s "$MISTRAL_API_KEY" | sha256sum | cut -c1-64
grep -h "core file" /proc/self/limits
read line`;

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

async function broker(host: DockerBerth): Promise<NatsConnection> {
  const { nats_creds, nats_url } = await host.berth.dev();
  const servers = new URL(nats_url).host;
  if (nats_creds === undefined) throw new Error("no credential of the platform");
  return connect({ servers, authenticator: credsAuthenticator(readFileSync(nats_creds)) });
}

/** Everything that is left of what went by, and all that can be asked for. */
async function lookEverywhere(search: CanarySearch, host: DockerBerth, traffic: Buffer[]) {
  for (const message of traffic) search.look("traffic", "a message", message);
  search.look("output", "of berth", host.berth.output());
  search.lookInFolder("file", host.berth.dataDir);
  await lookInBroker(search, host);
  await lookInEngine(search, host);
  await lookInApi(search, host);
}

async function lookInBroker(search: CanarySearch, host: DockerBerth) {
  const nc = await broker(host);
  try {
    const jsm = await jetstreamManager(nc);
    for await (const { config, state } of jsm.streams.list()) {
      search.look("configuration", config.name, JSON.stringify(config));
      for (let seq = Math.max(1, state.first_seq); seq <= state.last_seq; seq += 1) {
        // One at a time and by hand: a mailbox gives its messages to no other reader. Most are gone.
        const message = await jsm.streams.getMessage(config.name, { seq });
        if (message === null) continue;
        const { data, header, subject } = message;
        const head = [...header.keys()].map((name) => `${name}: ${header.get(name)}`).join("\n");
        search.look(
          "stored",
          `${config.name} ${subject}`,
          Buffer.concat([Buffer.from(head), data]),
        );
      }
    }
  } finally {
    await nc.close();
  }
}

async function lookInEngine(search: CanarySearch, host: DockerBerth) {
  const filters = { label: [`berth.deployment=${host.deployment}`] };
  for (const { Id } of await docker.listContainers({ all: true, filters })) {
    const container = docker.getContainer(Id);
    search.look("inspection", Id, JSON.stringify(await container.inspect()));
    search.look("container log", Id, await container.logs({ stdout: true, stderr: true }));
  }
  for (const network of await docker.listNetworks({ filters }))
    search.look("inspection", network.Id, JSON.stringify(network));
}

async function lookInApi(search: CanarySearch, host: DockerBerth) {
  const { keys, metrics_url, url } = await host.berth.dev();
  search.look("metrics", "of berth", await (await fetch(metrics_url)).text());
  const ask = async (path: string, key: string): Promise<string> => {
    const answer = await fetch(`${url}${path}`, { headers: { authorization: `Bearer ${key}` } });
    const text = await answer.text();
    search.look("API", path, text);
    return text;
  };
  for (const path of ["workers", "nodes", "dead-letters", "audit", "tenants", "queues", "vault"])
    await ask(`/v1/${path}`, keys.operator);
  for (const path of ["credentials", "credentials/openai", "sessions", "jobs", "usage", "audit"])
    await ask(`/v1/${path}`, keys.pro);
  const sessions = JSON.parse(await ask("/v1/sessions", keys.pro)) as { data: { id: string }[] };
  for (const { id } of sessions.data) await ask(`/v1/sessions/${id}/events`, keys.pro);
  const workers = JSON.parse(await ask("/v1/workers", keys.operator)) as { data: { id: string }[] };
  for (const { id } of workers.data) await ask(`/v1/workers/${id}/log`, keys.operator);
}

const ended = (client: BerthClient, job: string) =>
  eventually(async () => isTerminal((await client.job(job)).state), {
    within: JOB_MS,
    name: "the job has ended",
  });

describeDocker("a user's key", () => {
  test("reaches the process of its agent, and lies nowhere else in any form that the search would find", {
    timeout: TEST_MS,
  }, async () => {
    await using host = await spawnDockerBerth({
      BERTH_TIERS: JSON.stringify(TIERS),
      BERTH_LOG_LEVEL: "debug",
    });
    const canary = newCanary();
    const client = await host.client();
    const nc = await broker(host);
    const traffic: Buffer[] = [];
    nc.subscribe(">", {
      callback: (_error, { data, headers, subject }) => {
        const head = `${subject} ${headers === undefined ? "" : JSON.stringify([...headers])}`;
        traffic.push(Buffer.concat([Buffer.from(head), data]));
      },
    });
    await nc.flush();

    await client.setCredential("openai", "first-value-that-is-replaced");
    await client.setCredential("openai", canary);
    await client.setCredential("mistral", canary);
    const submitted = await client.submit({
      agent: "shell",
      prompt: PROOF,
      credentials: ["openai", "mistral"],
    });
    await using log = follow(client, submitted.session_id);
    const proof = `${sha256(canary)}\n${sha256(canary)}\n`;
    await eventually(() => log.output().includes("core file"), { within: JOB_MS, name: "proof" });
    expect(log.output().startsWith(proof)).toBe(true);
    expect(log.output()).toMatch(/Max core file size +0 +0 /);

    // While the agent runs: its own processes have it in their environment, and nobody else.
    const search = new CanarySearch(canary);
    const holders = new CanarySearch(canary).lookInProcesses("process");
    expect(holders.length).toBeGreaterThan(0);
    for (const environment of holders)
      expect(environment).toContain(`BERTH_JOB_ID=${submitted.id}\0`);
    await lookEverywhere(search, host, traffic);
    expect([...search.found]).toEqual([]);

    await client.input(submitted.id, "\n");
    await ended(client, submitted.id);
    // A refused order and a dead worker leave more behind than a job that went well.
    const lost = await client.submit({ agent: "shell", prompt: PROOF, credentials: ["openai"] });
    await eventually(async () => (await client.job(lost.id)).state === "running", {
      within: JOB_MS,
      name: "the next job runs",
    });
    for (const { id, labels } of await host.workers())
      if (labels["berth.tenant"] === "dev-pro") await docker.getContainer(id).kill();
    await ended(client, lost.id);
    search.lookInProcesses("process");
    await lookEverywhere(search, host, traffic);
    expect([...search.found]).toEqual([]);
    // The orders and the vault's requests went by under our eyes.
    for (const sign of ["berth.down.", "sealed_env", "berth.vault.put"])
      expect(
        traffic.some((message) => message.includes(sign)),
        sign,
      ).toBe(true);
    const kinds = [
      ...["API", "configuration", "container log", "file", "inspection", "metrics", "output"],
      ...["process", "stored", "traffic"],
    ];
    expect([...search.searched.keys()].toSorted()).toEqual(kinds);
    for (const kind of kinds) expect(search.searched.get(kind), kind).toBeGreaterThan(100);

    // Not because the search is blind: whatever is planted, it finds, in each kind of place.
    const seen = new CanarySearch(canary);
    const bytes = Buffer.from(canary);
    const plain = await client.submit({
      agent: "shell",
      prompt: `: ${encodeURIComponent(canary)}\necho ${bytes.toString("hex")}`,
      metadata: { note: Buffer.from(`x${canary}y`).toString("base64") },
    });
    await ended(client, plain.id);
    await writeFile(join(host.berth.dataDir, "planted"), bytes.toString("base64url"));
    const { deployment } = host;
    const container = await docker.createContainer({
      Image: EXECUTOR_IMAGE,
      Labels: { "berth.deployment": deployment, "berth.planted": canary },
      Entrypoint: ["/bin/sh", "-c", `echo ${bytes.toString("hex").toUpperCase()}`],
    });
    const idle = spawn("sleep", ["60"], { env: { PLANTED: canary } });
    try {
      await container.start();
      await container.wait();
      expect(seen.lookInProcesses("process")).toHaveLength(1);
      await lookEverywhere(seen, host, traffic);
    } finally {
      idle.kill("SIGKILL");
      await once(idle, "exit");
      await container.remove({ force: true });
      await nc.close();
    }
    const found = new Set(
      [...seen.found].map((place) => place.replace(/ \S+$/, "").replace(/^(stored) .*/, "$1")),
    );
    for (const kind of [
      "API",
      "container log",
      "file",
      "inspection",
      "process",
      "stored",
      "traffic",
    ])
      expect(
        [...found].some((place) => place.startsWith(kind)),
        kind,
      ).toBe(true);
    const inStores = [...seen.found].filter((place) => place.startsWith("stored")).join("\n");
    expect(inStores).toContain("KV_berth-jobs");
    expect(inStores).toContain("BERTH_JOURNAL");
  });
});
