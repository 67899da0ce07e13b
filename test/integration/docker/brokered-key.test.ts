/**
 * A user's key of a tenant whose keys are brokered, from the API to the provider, with `berth up` as it is: it is at the
 * provider, and in no process and no container.
 */
import { randomInt } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { isTerminal } from "../../../protocols/job.ts";
import { CanarySearch, newCanary } from "../../support/canary.ts";
import { certificateFor } from "../../support/certificate.ts";
import { describeDocker, docker } from "../../support/docker.ts";
import { type DockerBerth, follow, spawnDockerBerth } from "../../support/docker-berth.ts";
import { eventually } from "../../support/eventually.ts";
import { type ModelStub, startModelStub } from "../../support/model-stub.ts";
import { type NameServer, startNameServer } from "../../support/name-server.ts";

const TEST_MS = 180_000;
const JOB_MS = 60_000;
const PROVIDER = "api.openai.com";
const MIB = 1024 ** 2;
const SMALL = { dormantWorkers: 0, storageBytes: 64 * MIB, memoryBytes: 512 * MIB, cpus: 1 };

describeDocker("a user's key that is brokered", () => {
  let names: NameServer;
  let provider: ModelStub;
  let host: DockerBerth;
  let folder: string;

  beforeAll(async () => {
    // The provider's own port, on an address of this host that is nobody else's.
    const address = `127.77.${randomInt(256)}.${randomInt(1, 255)}`;
    const certificate = await certificateFor(PROVIDER);
    folder = await mkdtemp(join(tmpdir(), "berth-provider-"));
    await writeFile(join(folder, "ca.pem"), certificate.cert);
    names = await startNameServer(address);
    provider = await startModelStub(certificate, { host: address, port: 443 });
    host = await spawnDockerBerth({
      NODE_EXTRA_CA_CERTS: join(folder, "ca.pem"),
      BERTH_EGRESS_DNS: names.address,
      BERTH_LOG_LEVEL: "debug",
      BERTH_TIERS: JSON.stringify({
        free: { minWorkers: 0, ...SMALL },
        pro: { ...SMALL, egressHosts: [{ host: PROVIDER, allow_private: true }] },
        enterprise: { minWorkers: 0 },
      }),
    });
  }, TEST_MS);
  afterAll(async () => {
    await host?.[Symbol.asyncDispose]();
    await provider?.[Symbol.asyncDispose]();
    await names?.[Symbol.asyncDispose]();
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  test("is used by Codex and by hand while their jobs run, and is in none of their processes, containers or logs", {
    timeout: TEST_MS,
  }, async () => {
    const canary = newCanary();
    const { keys, url } = await host.berth.dev();
    const put = await fetch(`${url}/v1/tenants/dev-pro`, {
      method: "PUT",
      headers: { authorization: `Bearer ${keys.operator}`, "content-type": "application/json" },
      body: JSON.stringify({ name: "Brokered", tier: "pro", keys: "brokered" }),
    });
    expect(await put.json()).toMatchObject({ keys: "brokered" });
    const client = await host.client();
    await client.setCredential("openai", canary);

    const codex = await client.submit({
      agent: "codex",
      model: "gpt-5-codex",
      prompt: "hello there",
    });
    await using said = follow(client, codex.session_id);
    await eventually(async () => isTerminal((await client.job(codex.id)).state), {
      within: JOB_MS,
    });
    expect((await client.job(codex.id)).state).toBe("succeeded");
    await eventually(() => JSON.stringify(said.events).includes("echo: hello there"));
    for (const { headers } of provider.requests)
      expect(headers.authorization).toBe(`Bearer ${canary}`);
    const before = provider.requests.length;
    expect(before).toBeGreaterThan(0);

    const ask = `curl -s -o /dev/null -w '%{http_code}\\n' -H "Authorization: Bearer $OPENAI_API_KEY" "$OPENAI_BASE_URL/models"`;
    const byHand = await client.submit({
      agent: "shell",
      credentials: ["openai"],
      prompt: `${ask}\necho "$OPENAI_API_KEY"\nread line\n${ask}`,
    });
    await using log = follow(client, byHand.session_id);
    const shown = /^404\n(berth-placeholder-\S+)\n/;
    await eventually(() => expect(log.output()).toMatch(shown), { within: JOB_MS });
    expect(provider.requests).toHaveLength(before + 1);
    const search = new CanarySearch(canary);
    expect(search.lookInProcesses("process")).toEqual([]);
    const filters = { label: [`berth.deployment=${host.deployment}`] };
    for (const { Id } of await docker.listContainers({ all: true, filters })) {
      const container = docker.getContainer(Id);
      search.look("inspection", Id, JSON.stringify(await container.inspect()));
      search.look("container log", Id, await container.logs({ stdout: true, stderr: true }));
    }
    search.lookInFolder("file", host.berth.dataDir);
    search.look("output", "of berth", host.berth.output());
    search.look("events", "of both jobs", JSON.stringify([said.events, log.events]));
    expect([...search.found]).toEqual([]);
    await client.input(byHand.id, "\n");
    await eventually(async () => isTerminal((await client.job(byHand.id)).state), {
      within: JOB_MS,
    });
    expect(provider.requests).toHaveLength(before + 2);
    expect(new Set(names.asked)).toEqual(new Set([PROVIDER]));

    // The job is over, and with it what its placeholder was good for; also for who runs in the same worker.
    const [, placeholder = ""] = shown.exec(log.output()) ?? [];
    const late = await client.submit({
      agent: "shell",
      credentials: ["openai"],
      prompt: `sleep 3; OPENAI_API_KEY=${placeholder}; ${ask}`,
    });
    await using end = follow(client, late.session_id);
    await eventually(() => expect(end.output()).toBe("401\n"), { within: JOB_MS });
    expect(provider.requests).toHaveLength(before + 2);
  });
});
