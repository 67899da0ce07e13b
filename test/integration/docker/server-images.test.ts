/** The images that are servers: the one with everything in it, to its second start, and a node and a gateway as two containers. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { choosePort } from "../../../deploy/ports.ts";
import { BerthClient } from "../../../gateway/client.ts";
import type { SessionEvent } from "../../../protocols/events.ts";
import {
  buildImages,
  type ContainerHost,
  openContainerHost,
  startRole,
} from "../../support/container.ts";
import { describeDocker } from "../../support/docker.ts";
import { eventually } from "../../support/eventually.ts";
import { startNats } from "../../support/nats.ts";

const BUILD_MS = 20 * 60_000;
const TEST_MS = 5 * 60_000;

const freePort = (name: string) =>
  choosePort({ name, host: "127.0.0.1", port: 0, isExplicit: false });

async function eventsOf(url: string, key: string, session: string): Promise<SessionEvent[]> {
  const response = await fetch(`${url}/v1/sessions/${session}/events`, {
    headers: { authorization: `Bearer ${key}` },
  });
  expect(response.status).toBe(200);
  return ((await response.json()) as { data: SessionEvent[] }).data;
}

const outputOf = (events: readonly SessionEvent[]) =>
  events
    .filter(({ type }) => type === "agent.output")
    .map(({ data }) => String(data["text"]))
    .join("");

describeDocker("images", () => {
  beforeAll(() => buildImages("node", "gateway", "all-in-one"), BUILD_MS);

  describe("with everything in it", () => {
    let host: ContainerHost;
    beforeAll(async () => {
      host = await openContainerHost();
    });
    afterAll(async () => {
      await host?.[Symbol.asyncDispose]();
    });

    test("runs jobs as a plain user on a read-only root, stops in time beside a job that will not, and keeps every event", {
      timeout: TEST_MS,
    }, async () => {
      const first = await host.start();
      const client = new BerthClient({ url: first.url, key: first.key });
      const done = await client.submit({ agent: "shell", prompt: "id -u; git --version" });
      const before = await eventually(
        async () => {
          const events = await eventsOf(first.url, first.key, done.session_id);
          return events.at(-1)?.type === "job.succeeded" && events;
        },
        { within: 30_000, name: "the job succeeds" },
      );
      expect(outputOf(before)).toMatch(/^1000\ngit version /);
      expect(await first.exec("berth", "run", "--agent", "shell", "echo within")).toBe("within");

      const prompt = 'trap "" TERM; echo stubborn; while :; do sleep 1; done';
      const stubborn = await client.submit({ agent: "shell", prompt });
      await eventually(
        async () =>
          outputOf(await eventsOf(first.url, first.key, stubborn.session_id)) === "stubborn\n",
        { within: 30_000, name: "the other job runs" },
      );
      // Not 137: Docker did not have to kill it.
      expect(await first.stop()).toBe(0);

      const second = await host.start();
      expect(second.key).toBe(first.key);
      expect(await eventsOf(second.url, second.key, done.session_id)).toEqual(before);
      await eventually(
        async () => {
          const last = (await eventsOf(second.url, second.key, stubborn.session_id)).at(-1);
          return last?.type === "job.interrupted";
        },
        { within: 30_000, name: "the job that the stop cut off is told as interrupted" },
      );
      expect(await second.exec("berth", "run", "--agent", "shell", "echo again")).toBe("again");
      expect(await second.stop()).toBe(0);
    });
  });

  describe("of a node and of a gateway", () => {
    test("run a job as a plain user on a read-only root", { timeout: TEST_MS }, async () => {
      await using nats = await startNats({ authorize: true });
      const env = { BERTH_NATS_URL: nats.url, BERTH_HOST: "127.0.0.1" };
      const port = await freePort("gateway");
      await using node = await startRole("node", {
        ...env,
        BERTH_NODE_PORT: String(await freePort("node")),
        BERTH_WORKER_NATS_URL: nats.workerUrl,
        BERTH_DRIVER: "process",
        BERTH_DEPLOYMENT: `test-${randomUUID().slice(0, 8)}`,
        BERTH_TIERS: JSON.stringify({ free: { minWorkers: 0, maxWorkers: 1 } }),
      });
      await using gateway = await startRole("gateway", {
        ...env,
        BERTH_PORT: String(port),
        BERTH_METRICS_PORT: String(await freePort("metrics")),
      });
      const url = `http://127.0.0.1:${port}`;
      expect(await node.exec("id", "-un")).toBe("berth");
      const operator = await gateway.exec("berth", "operator-key");
      const call = async (method: string, path: string, body: object) => {
        const response = await fetch(`${url}${path}`, {
          method,
          headers: { authorization: `Bearer ${operator}`, "content-type": "application/json" },
          body: JSON.stringify(body),
        });
        if (!response.ok) throw new Error(`${method} ${path}: ${response.status}`);
        return await response.json();
      };
      await call("PUT", "/v1/tenants/acme", { name: "Acme", tier: "free" });
      const user = (await eventually(
        () => call("POST", "/v1/tenants/acme/keys", { name: "ann", user: "ann" }),
        { name: "the tenant is known" },
      )) as { readonly key: string };

      const client = new BerthClient({ url, key: user.key });
      const job = await client.submit({ agent: "shell", prompt: "id -u; touch /x || echo kept" });
      const output: string[] = [];
      for await (const event of client.jobEvents(job.id))
        if (event.type === "agent.output") output.push(String(event.data["text"]));

      expect(output.join("")).toMatch(/^1000\n/);
      expect(output.join("")).toMatch(/^kept$/m);
      const page = await fetch(`${url}/`);
      expect(await page.text()).toContain("<html");
    });
  });
});
