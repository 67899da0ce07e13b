/** The development stack as a new user has it: one command, a job through the gateway, and nothing left behind. */
import { readFile } from "node:fs/promises";
import { request } from "node:https";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BerthClient } from "../../gateway/client.ts";
import { endsJob } from "../../protocols/events.ts";
import { type ComposeStack, composeUp, describeCompose, leftOf } from "../support/compose.ts";
import { buildImages } from "../support/container.ts";
import { docker, EXECUTOR_IMAGE } from "../support/docker.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { ROOT } from "../support/source.ts";
import { openTenant } from "../support/tenant.ts";

const BUILD_MS = 20 * 60_000;
const TEST_MS = 5 * 60_000;
const TIERS = { free: { minWorkers: 1, maxWorkers: 2 }, pro: { dormantWorkers: 0 } };

describeCompose("the development stack", () => {
  let stack: ComposeStack;
  let url: string;
  beforeAll(async () => {
    await buildImages("node", "gateway", "all-in-one");
    const port = await freePort("gateway");
    url = `http://127.0.0.1:${port}`;
    stack = await composeUp({
      files: ["development.yaml", "isolation.yaml"],
      env: {
        BERTH_PORT: String(port),
        BERTH_METRICS_PORT: String(await freePort("metrics")),
        BERTH_NODE_PORT: String(await freePort("node")),
        BERTH_TIERS: JSON.stringify(TIERS),
      },
    });
  }, BUILD_MS);
  afterAll(async () => {
    await stack?.[Symbol.asyncDispose]();
  }, TEST_MS);

  const containerOf = async (service: string) => {
    const label = [
      `com.docker.compose.project=${stack.project}`,
      `com.docker.compose.service=${service}`,
    ];
    const [found] = await docker.listContainers({ all: true, filters: { label } });
    return await docker.getContainer(found?.Id ?? service).inspect();
  };

  test("runs a job through the gateway, in a container of its own", {
    timeout: TEST_MS,
  }, async () => {
    const operator = { url, key: await stack.operatorKey("node") };
    const tenant = await openTenant(operator, { tenant: "acme", tier: "pro" });
    const client = new BerthClient({ url, key: await tenant.keyOf("ann") });
    const prompt = "id -u; hostname; cat /proc/1/environ | tr '\\0' '\\n'; echo done";
    const output: string[] = [];
    const ends: string[] = [];
    for await (const event of client.run({ agent: "shell", prompt })) {
      if (event.type === "agent.output") output.push(String(event.data["text"]));
      if (endsJob(event)) ends.push(event.type);
    }
    expect(ends).toEqual(["job.succeeded"]);
    expect(output.join("")).toMatch(/^1000\n/);
    expect(output.join("")).not.toContain(stack.project);
  });

  test("goes on while the key that signs workers is replaced", { timeout: TEST_MS }, async () => {
    const operator = { url, key: await stack.operatorKey("node") };
    const tenant = await openTenant(operator, { tenant: "umbrella", tier: "pro" });
    const client = new BerthClient({ url, key: await tenant.keyOf("bob") });
    const runs = async () => {
      const types: string[] = [];
      for await (const { type } of client.run({ agent: "shell", prompt: "true" })) types.push(type);
      return types.at(-1);
    };
    const keysOnNode = () =>
      stack.compose(
        "exec",
        "-T",
        "node",
        "sh",
        "-c",
        "cd /run/secrets/berth/nats-auth; ls issuer*; sha256sum issuer.nk",
      );
    expect(await runs()).toBe("job.succeeded");
    const before = await keysOnNode();
    const rotation = stack.rotate("issuer", "15s");
    const handOn = () =>
      stack.compose("up", "--no-deps", "--force-recreate", "--exit-code-from", "keys", "keys");
    await eventually(
      async () => {
        await handOn();
        return (await keysOnNode()) !== before;
      },
      { within: 30_000, name: "the node has the new key" },
    );
    expect(await runs()).toBe("job.succeeded");
    await rotation;
    await handOn();
    const [file, digest] = (await keysOnNode()).trim().split("\n");
    expect(file).toBe("issuer.nk");
    expect(before).not.toContain(digest ?? "");
    expect(await runs()).toBe("job.succeeded");
  });

  test("gives no service more than it needs", async () => {
    for (const service of ["nats", "node", "gateway"]) {
      const { HostConfig, Config, State } = await containerOf(service);
      expect({ service, health: State.Health?.Status }).toEqual({ service, health: "healthy" });
      expect(HostConfig.ReadonlyRootfs).toBe(true);
      expect(HostConfig.CapDrop).toEqual(["ALL"]);
      expect(HostConfig.SecurityOpt).toContain("no-new-privileges:true");
      expect(HostConfig.Privileged).toBe(false);
      // A node makes rules of the host's firewall.
      if (service !== "node") expect(Config.User).toBe("1000:1000");
      if (service !== "node") expect(HostConfig.CapAdd ?? []).toEqual([]);
    }
    // The root key is where no service is.
    expect(
      await stack.compose("exec", "-T", "node", "ls", "/run/secrets/berth/nats-auth"),
    ).not.toMatch(/^operator\.nk$/m);
    await expect(stack.compose("exec", "-T", "gateway", "ls", "/keys")).rejects.toThrow();
    expect(await stack.compose("exec", "-T", "gateway", "ls", "/run/secrets/berth")).toBe(
      "gateway.creds\n",
    );
  });

  test("lets services of a tenant reach the API, and neither another tenant's nor the broker", {
    timeout: TEST_MS,
  }, async () => {
    const { NetworkSettings: broker } = await containerOf("nats");
    const brokers = Object.values(broker.Networks).map(({ IPAddress }) => IPAddress);
    expect(brokers.length).toBe(2);
    const visitor = await startVisitor(`${stack.project}_tenant-org-a`);
    const other = await startVisitor(`${stack.project}_tenant-org-b`);
    try {
      const reach = (target: string) => visitor.run(`curl -s -m 3 -o /dev/null ${target}`);
      expect(await reach("http://berth:8000/readyz")).toBe(0);
      expect(await other.run("curl -s -m 3 -o /dev/null http://berth:8000/readyz")).toBe(0);
      for (const address of brokers) expect(await reach(`telnet://${address}:4222`)).not.toBe(0);
      expect(await reach(`http://${other.address}:9000`)).not.toBe(0);
      expect(await visitor.run(`curl -s -m 3 -o /dev/null http://${visitor.address}:9000`)).toBe(0);
    } finally {
      await visitor.remove();
      await other.remove();
    }
  });

  test("speaks TLS when it is given a certificate", { timeout: TEST_MS }, async () => {
    const overlay = join(ROOT, "deploy", "compose", "gateway-tls.yaml");
    await stack.compose("-f", overlay, "up", "--detach", "--no-deps", "--wait", "gateway");
    const ca = await readFile(join(stack.env["BERTH_TLS_DIR"] ?? "", "gateway.crt"), "utf8");
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const asked = request(`${url.replace("http:", "https:")}/readyz`, { ca }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      asked.once("error", reject);
      asked.end();
    });
    expect(status).toBe(200);
  });

  test("leaves nothing behind but users' workspaces when it is taken down", {
    timeout: TEST_MS,
  }, async () => {
    await stack.compose("down", "--volumes", "--remove-orphans");
    const left = await leftOf(stack.project);
    expect(left.filter((name) => !name.startsWith("volume berth-workspace-"))).toEqual([]);
    // Of Ann and of Bob, kept for a day after their last use.
    expect(left.length).toBe(2);
  });
});

/** A container in a network that serves port 9000, in which commands are run. */
async function startVisitor(network: string) {
  const container = await docker.createContainer({
    Image: EXECUTOR_IMAGE,
    Entrypoint: ["python3", "-m", "http.server", "9000", "--directory", "/tmp"],
    HostConfig: { NetworkMode: network, AutoRemove: true, Init: true },
  });
  await container.start();
  const { NetworkSettings } = await container.inspect();
  return {
    address: NetworkSettings.Networks[network]?.IPAddress ?? "none",
    /** Resolves with the exit code. */
    async run(script: string): Promise<number | null> {
      const exec = await container.exec({ Cmd: ["sh", "-c", script], AttachStdout: true });
      const stream = await exec.start({});
      stream.resume();
      await new Promise((resolve) => stream.once("end", resolve));
      return (await exec.inspect()).ExitCode;
    },
    async remove(): Promise<void> {
      await container.remove({ force: true });
    },
  };
}
