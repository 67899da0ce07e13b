/** Alerts of nodes that stand still, die, or have a broker that does not let them do all they need, each by its real cause. */
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { newVaultKey } from "../../../deploy/vault-keys.ts";
import { BerthClient } from "../../../gateway/client.ts";
import { startCommand } from "../../support/berth-command.ts";
import { eventually } from "../../support/eventually.ts";
import { freePort } from "../../support/free-port.ts";
import { valuesIn } from "../../support/metrics-text.ts";
import { describePrometheus, type Prometheus, startPrometheus } from "../../support/prometheus.ts";
import { type RoleProcess, type RoleProcesses, roleProcesses } from "../../support/role-process.ts";

/** Of roleProcesses. */
const PARTITIONS = 8;
/** A session each, so that both nodes have mail. */
const JOBS = 16;
const REFUSED = 'sum(berth_gateway_requests_total{status="503"})';

/** Longer than an alert may take. */
vi.setConfig({ testTimeout: 100_000 });

describePrometheus("a Prometheus says so", () => {
  let processes: RoleProcesses;
  let one: RoleProcess;
  let two: RoleProcess;
  let gateway: RoleProcess;
  let prometheus: Prometheus;
  let key: string;
  let client: BerthClient;
  const denied: string[] = [];

  beforeAll(async () => {
    const metricsPort = await freePort("metrics");
    const env = {
      BERTH_LEASE_TTL: "4s",
      BERTH_VAULT_KEY: newVaultKey(),
      BERTH_TIERS: JSON.stringify({ pro: { concurrentJobs: 8, slotsPerWorker: 8 } }),
      BERTH_METRICS_PORT: String(metricsPort),
    };
    processes = await roleProcesses(env, { denied });
    one = await processes.start("node", "one");
    two = await processes.start("node", "two");
    gateway = await processes.start("gateway", "gw");
    prometheus = await startPrometheus({
      gateways: [`127.0.0.1:${metricsPort}`],
      nodes: [new URL(one.url).host, new URL(two.url).host],
    });
    key = await userKey();
    client = new BerthClient({ url: gateway.url, key, patienceMs: 60_000 });
  });
  afterAll(async () => {
    await prometheus?.[Symbol.asyncDispose]();
    await processes?.[Symbol.asyncDispose]();
  });

  /** Of a tenant that is made for it. */
  async function userKey(): Promise<string> {
    await using made = startCommand(["operator-key", "--nats", processes.nats.url]);
    expect(await made.done(), made.err()).toBe(0);
    const headers = {
      authorization: `Bearer ${made.out().trim()}`,
      "content-type": "application/json",
    };
    const call = async (method: string, path: string, body: object) => {
      const sent = { method, headers, body: JSON.stringify(body) };
      const answer = await fetch(`${gateway.url}${path}`, sent);
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
      return (await answer.json()) as { key: string };
    };
    await call("PUT", "/v1/tenants/acme", { name: "Acme", tier: "pro" });
    const keys = "/v1/tenants/acme/keys";
    const ann = await eventually(() => call("POST", keys, { name: "ann", user: "ann" }), {
      name: "the tenant is known",
    });
    return ann.key;
  }

  async function finished(): Promise<void> {
    let last = "";
    for await (const { type } of client.run({ agent: "shell", prompt: "true" })) last = type;
    expect(last).toBe("job.succeeded");
  }

  async function held(node: RoleProcess): Promise<number> {
    const text = await (await fetch(`${node.url}/metrics`)).text();
    return valuesIn(text, "berth_partitions_held").get("") ?? Number.NaN;
  }

  async function submit(): Promise<number> {
    const answer = await fetch(`${gateway.url}/v1/jobs`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ agent: "shell", prompt: "true" }),
    });
    await answer.text();
    return answer.status;
  }

  const holds = (node: RoleProcess, partitions: number) =>
    eventually(async () => (await held(node)) === partitions, {
      within: 20_000,
      name: `it holds ${partitions} partitions`,
    });
  const share = () => Promise.all([one, two].map((node) => holds(node, PARTITIONS / 2)));

  test("nothing, in peace", async () => {
    await share();
    await eventually(
      async () => (await prometheus.values('up{job=~"berth-.*"} == 1')).length === 3,
      { within: 20_000, name: "all targets are up" },
    );
    await eventually(async () => expect(await prometheus.firing()).toEqual([]), {
      within: 20_000,
      name: "nothing fires",
    });
  });

  test("when nodes stand still, and what they acknowledge does not arrive", async () => {
    denied.push("$JS.ACK.>", "$JS.API.INFO");
    await processes.nats.restart();
    await share();
    await Promise.all(Array.from({ length: JOBS }, () => finished()));
    // Twice: that mail came again after the first time is the beginning of the series.
    for (let n = 0; n < 2; n += 1) {
      two.signal("SIGSTOP");
      await holds(one, PARTITIONS);
      two.signal("SIGCONT");
      await share();
    }
    await prometheus.fires("MailRedelivered");
  });

  test("when a broker does not tell what it holds", async () => {
    await prometheus.fires("BrokerSilent");
  });

  test("when a node is killed, and when none is left", async () => {
    two.signal("SIGKILL");
    await prometheus.fires("NodeEvicted");
    one.signal("SIGKILL");
    // Twice: the first answers of a kind are the beginning of their series.
    for (let n = 0; n < 2; n += 1) {
      await eventually(async () => expect(await submit()).toBe(503), { within: 20_000 });
      await eventually(async () => (await prometheus.values(`${REFUSED} > ${n}`)).length === 1, {
        name: "Prometheus has seen it",
      });
    }
    await prometheus.fires("GatewayErrors");
  });
});
