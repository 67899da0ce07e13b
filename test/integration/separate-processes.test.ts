/** A deployment as in production: nodes and gateways as processes of their own on one nats-server. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newVaultKey } from "../../deploy/vault-keys.ts";
import { BerthClient } from "../../gateway/client.ts";
import type { ApiNode } from "../../protocols/api-operators.ts";
import type { SessionEvent } from "../../protocols/events.ts";
import { startCommand } from "../support/berth-command.ts";
import { eventually } from "../support/eventually.ts";
import { type RoleProcesses, roleProcesses } from "../support/role-process.ts";

let processes: RoleProcesses;
beforeAll(async () => {
  processes = await roleProcesses({ BERTH_LEASE_TTL: "2s", BERTH_VAULT_KEY: newVaultKey() });
});
afterAll(() => processes[Symbol.asyncDispose]());

describe("two nodes and a gateway", () => {
  test("lose nothing of a running job when its node is told to stop, and drain by request", async () => {
    const nodes = {
      one: await processes.start("node", "one"),
      two: await processes.start("node", "two"),
    };
    const gateway = await processes.start("gateway", "gw");
    await using made = startCommand(["operator-key", "--nats", processes.nats.url]);
    expect(await made.done(), made.err()).toBe(0);
    const key = made.out().trim();
    const call = async (method: string, path: string, body?: object) => {
      const answer = await fetch(`${gateway.url}${path}`, {
        method,
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
        ...(body ? { body: JSON.stringify(body) } : {}),
      });
      const text = await answer.text();
      if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
      return JSON.parse(text) as never;
    };
    await call("PUT", "/v1/tenants/acme", { name: "Acme", tier: "pro" });
    const user = await eventually(
      () => call("POST", "/v1/tenants/acme/keys", { name: "ann", user: "ann" }),
      { name: "the tenant is known" },
    );
    for (const { url } of Object.values(nodes)) {
      for (const path of ["/livez", "/readyz", "/metrics"]) {
        expect((await fetch(`${url}${path}`)).status).toBe(200);
      }
    }
    const listNodes = async () =>
      ((await call("GET", "/v1/nodes")) as { data: ApiNode[] }).data.toSorted((a, b) =>
        a.id < b.id ? -1 : 1,
      );
    await eventually(async () => (await listNodes()).every(({ partitions }) => partitions === 4), {
      within: 20_000,
      name: "both nodes have their share",
    });

    const client = new BerthClient({ url: gateway.url, key: (user as { key: string }).key });
    const prompt = "for i in $(seq 1 40); do echo line $i; sleep 0.2; done";
    const job = await client.submit({ agent: "shell", prompt });
    const events: SessionEvent[] = [];
    const reading = (async () => {
      for await (const event of client.jobEvents(job.id)) events.push(event);
    })();
    await eventually(() => events.some(({ type }) => type === "agent.output"), {
      within: 20_000,
      name: "the job prints",
    });
    const { worker } = await client.job(job.id);
    const { data: workers } = (await call("GET", "/v1/workers")) as {
      data: { id: string; host: "one" | "two" }[];
    };
    const host = workers.find(({ id }) => id === worker)?.host ?? "one";
    const other = host === "one" ? "two" : "one";
    expect(await nodes[host].terminate(), nodes[host].output()).toBe(0);
    await reading;
    const said = events
      .filter(({ type }) => type === "agent.output")
      .map(({ data }) => data["text"])
      .join("");
    expect(said).toBe(Array.from({ length: 40 }, (_, n) => `line ${n + 1}\n`).join(""));
    expect(events.at(-1)?.type).toBe("job.succeeded");
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, n) => n + 1));
    await eventually(async () => (await listNodes()).map(({ id }) => id).join() === other, {
      name: "one node is left",
    });

    // The node comes back under its name and adopts its worker; the other one is drained by request.
    await processes.start("node", host);
    await using drain = startCommand(["drain", other], { url: gateway.url, key });
    expect(await drain.done(), drain.err()).toBe(0);
    const after = await listNodes();
    expect(after.find(({ id }) => id === other)).toMatchObject({ draining: true, partitions: 0 });
    expect((await fetch(`${nodes[other].url}/readyz`)).status).toBe(503);
    expect((await fetch(`${nodes[other].url}/livez`)).status).toBe(200);
    // The gateway cannot open what it takes; whichever node runs the job can.
    await client.setCredential("openai", "key-of-ann-0123456789");
    const again: SessionEvent[] = [];
    for await (const event of client.run({
      agent: "shell",
      prompt: 'test "$OPENAI_API_KEY" = "key-of-ann-0123456789" && echo again',
      credentials: ["openai"],
    }))
      again.push(event);
    expect(again.at(-1)?.type).toBe("job.succeeded");
  }, 120_000);

  test("refuse to start without a nats-server, in one sentence", async () => {
    await using command = startCommand(["node"]);
    expect(await command.done()).toBe(2);
    expect(command.err()).toContain("BERTH_NATS_URL");
  });
});
