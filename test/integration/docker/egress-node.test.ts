/** The way out as a node puts it together: its driver, its workers and their agents, its tenants' records. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { egressTokens } from "../../../deploy/egress.ts";
import type { Act } from "../../../protocols/audit.ts";
import type { JobOrder, WorkerSpec } from "../../../protocols/executor.ts";
import { jobKey } from "../../../protocols/job.ts";
import type { CredentialRequest } from "../../../runtime/credential-source.ts";
import { describeDocker } from "../../support/docker.ts";
import { type DockerRig, dockerDriverRig } from "../../support/docker-driver-rig.ts";
import { eventually } from "../../support/eventually.ts";
import { type Broker, orderOf, startBroker } from "../../support/executor-rig.ts";
import { type NameServer, startNameServer } from "../../support/name-server.ts";

const JOB_MS = 60_000;
const KEY = "sk-canary-of-ann-9876543210";
const LIMITS = {
  slots: 1,
  workspace: "job",
  cpus: 1,
  memory_bytes: 256 * 1024 ** 2,
  storage_bytes: 64 * 1024 ** 2,
  processes: 128,
  network: "user",
  internet: false,
} as const;

function specOf(worker: string, tenant: string): WorkerSpec {
  return { worker, tenant, user: "ann", tier: "pro", workspace_key: `u-${worker}`, ...LIMITS };
}

describeDocker("the way out of a node's workers", () => {
  let broker: Broker;
  let names: NameServer;
  let host: Server;
  let rig: DockerRig;
  let place: string;
  const acts: Act[] = [];
  const opened: CredentialRequest[] = [];
  const acme = specOf("wrk-acme", "acme");
  const umbrella = specOf("wrk-umbrella", "umbrella");

  beforeAll(async () => {
    [broker, names] = await Promise.all([startBroker(), startNameServer("127.0.0.1")]);
    host = createServer((_, response) => response.end("house")).listen(0, "127.0.0.1");
    await once(host, "listening");
    place = `npm.house.test:${(host.address() as AddressInfo).port}`;
    rig = await dockerDriverRig(broker, {
      tiers: { pro: { egressHosts: ["@models"] } },
      environment: { BERTH_EGRESS_DNS: names.address },
      parts: {
        audit: { record: async (act) => void acts.push(act) },
        credentials: {
          open: async (request) => {
            opened.push(request);
            return KEY;
          },
        },
      },
    });
    const [hostName, port] = place.split(":");
    const egress = [{ host: hostName, ports: [Number(port)], allow_private: true }];
    await put("tenants", "acme", { ...tenantOf("acme"), egress });
    await put("tenants", "umbrella", tenantOf("umbrella"));
    for (const spec of [acme, umbrella]) {
      await rig.driver.start(spec, rig.connection);
      await eventually(() => rig.hellos(spec.worker) > 0, { name: "hello", within: 30_000 });
    }
  });
  afterAll(async () => {
    host?.close();
    await rig?.[Symbol.asyncDispose]();
    await names?.[Symbol.asyncDispose]();
    await broker?.[Symbol.asyncDispose]();
  });

  const tenantOf = (id: string) => ({ id, name: id, tier: "pro", suspended: false, created_at: 1 });
  const put = (bucket: "tenants" | "jobs", key: string, value: object) =>
    rig.buckets.put(bucket, key, new TextEncoder().encode(JSON.stringify(value)));
  const said = async (spec: WorkerSpec, script: string, more: Partial<JobOrder> = {}) =>
    (await rig.node.run(spec.worker, orderOf("shell", script, more), JOB_MS)).text().trim();

  test("leads a tenant to its own hosts and no other tenant there, without a question for a name that is not listed", async () => {
    expect(await said(acme, `curl -s http://${place}/x`)).toBe("house");
    const refused = await said(umbrella, `curl -s http://${place}/x`);
    expect(refused).toBe(
      "berth: npm.house.test is not on the list of hosts that this tenant may reach",
    );
    await said(umbrella, "curl -s https://secret.example.test");
    // Listed, and led astray: the address decides.
    const astray = await said(
      umbrella,
      "curl -s -o /dev/null -w '%{http_connect}' https://api.openai.com",
    );
    expect(astray).toBe("403");
    expect(new Set(names.asked)).toEqual(new Set(["npm.house.test", "api.openai.com"]));
    const denial = { act: "egress.connect", outcome: "denied", tenant: "umbrella" };
    expect(acts).toMatchObject([
      { ...denial, target: place, detail: { reason: "not_listed" } },
      { ...denial, target: "secret.example.test:443", detail: { reason: "not_listed" } },
      { ...denial, target: "api.openai.com:443", detail: { reason: "not_public" } },
    ]);
    expect(acts[0]?.actor).toMatchObject({ tenant: "umbrella", user: umbrella.worker });
  });

  test("ends with the tenant's suspension, a short while after", async () => {
    await put("tenants", "umbrella", { ...tenantOf("umbrella"), suspended: true });
    await eventually(async () => {
      const answer = await said(umbrella, `curl -s http://${place}/x`);
      expect(answer).toContain("have no way out");
    });
  });

  test("asks a provider for a job that runs alone, and opens no key where another stands in its place", async () => {
    const tokens = await egressTokens(rig.buckets);
    const order = orderOf(
      "shell",
      `echo "$ANTHROPIC_BASE_URL"; curl -s -H "x-api-key: $ANTHROPIC_API_KEY" "$ANTHROPIC_BASE_URL/v1/models"`,
    );
    const provider = "claude_api";
    const { job_id: job, user } = order;
    const content = { worker: acme.worker, tenant: "acme", user, job, attempt: 1, provider };
    const placeholder = tokens.placeholder({ ...content, expires_at: Date.now() + 60_000 });
    let asks = 0;
    const ask = async () => {
      asks += 1;
      const env = { ANTHROPIC_API_KEY: placeholder };
      const own = { job_id: `${job}-${asks}`, session_id: `ses-${asks}` };
      const fresh = { ...order, ...own, env, brokered: [provider] };
      return (await rig.node.run(acme.worker, fresh, JOB_MS)).text().trim().split("\n");
    };
    const [address = "", unknown] = await ask();
    expect(address).toMatch(/^http:\/\/10\.2\d+\.\d+\.\d+:14223\/broker\/anthropic$/);
    expect(unknown).toBe("berth: nobody made this placeholder for a job that runs here");
    expect(opened).toEqual([]);
    await put("jobs", jobKey("acme", user, job), {
      ...{ id: `job_${"0".repeat(26)}`, session_id: `ses_${"0".repeat(26)}`, tenant: "acme", user },
      ...{ agent: "shell", tier: "pro", prompt: "", timeout_ms: null, created_at: 1 },
      ...{ state: "running", attempt: 1, started_at: 1, finished_at: null, exit_code: null },
      ...{ error: null, usage: null },
    });
    await eventually(async () => {
      // The name server is a liar: what it says is no address of a provider.
      expect((await ask())[1]).toBe(
        "berth: api.anthropic.com leads to an address that is not public",
      );
    });
    expect(opened).toEqual([]);
  });

  test("outlives the node's process: its next one knows the tokens of the workers that it adopts", async () => {
    await rig.driver.dispose();
    await rig.reopen();
    // Its connection to the broker broke with the door, and comes back first.
    const again = () => said(acme, `curl -s http://${place}/x`);
    await eventually(async () => expect(await again()).toBe("house"), { within: 30_000 });
  });
});
