/** R1, R2, R3 seen from a client: the node that owns a session stands still while its job runs, and goes on later. */
import { expect, test } from "vitest";
import { BerthClient } from "../../../gateway/client.ts";
import { endsJob } from "../../../protocols/events.ts";
import { partitionOf } from "../../../protocols/partition.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { connectNats } from "../../../runtime/nats/transport.ts";
import { startCommand } from "../../support/berth-command.ts";
import { eventually } from "../../support/eventually.ts";
import { followPrintingJob } from "../../support/followed-job.ts";
import { type RoleProcess, roleProcesses } from "../../support/role-process.ts";

const LINES = 120;
/** Some 24 seconds: the pause lies inside. */
const SCRIPT = `for i in $(seq 1 ${LINES}); do echo line $i; sleep 0.2; done`;
const LEASE_TTL_MS = 8_000;

/** A tenant with a user, whose key it resolves with. */
async function makeUser(gateway: string, operator: string): Promise<string> {
  const call = async (method: string, path: string, body: object) => {
    const answer = await fetch(`${gateway}${path}`, {
      method,
      headers: { authorization: `Bearer ${operator}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as { key: string };
  };
  await call("PUT", "/v1/tenants/acme", { name: "Acme", tier: "pro" });
  const made = await eventually(
    () => call("POST", "/v1/tenants/acme/keys", { name: "ann", user: "ann" }),
    { name: "the tenant is known" },
  );
  return made.key;
}

test("its events have no gap and one end, and the node takes its share again", async () => {
  await using processes = await roleProcesses();
  const [one, two, gateway] = await Promise.all([
    processes.start("node", "one"),
    processes.start("node", "two"),
    processes.start("gateway", "gw"),
  ]);
  const nodes: Readonly<Record<string, RoleProcess>> = { one, two };
  await using made = startCommand(["operator-key", "--nats", processes.nats.url]);
  expect(await made.done(), made.err()).toBe(0);
  const key = await makeUser(gateway.url, made.out().trim());
  const client = new BerthClient({ url: gateway.url, key, patienceMs: 60_000 });
  const transport = await connectNats({
    ...{ url: processes.nats.url, name: "looker", logger: silentLogger, clock: systemClock },
    topology: { replicas: 1, partitions: 8, mailboxCapacity: 1, journalRetentionMs: 1 },
  });
  const owners = async () => {
    const found = await transport.buckets.list("partitions", "");
    return new Map(
      found.map(({ key: partition, value }) => [
        Number(partition),
        (JSON.parse(new TextDecoder().decode(value)) as { node: string | null }).node ?? "",
      ]),
    );
  };

  const job = await followPrintingJob(client, SCRIPT);
  const { events, reading } = job;
  const said = () =>
    events
      .filter(({ type }) => type === "agent.output")
      .map(({ data }) => data["text"])
      .join("");

  const ref = { kind: "session", tenant: "acme", key: job.session_id };
  const owner = (await owners()).get(partitionOf(ref, transport.partitions)) ?? "";
  const other = owner === "one" ? "two" : "one";
  nodes[owner]?.signal("SIGSTOP");
  await eventually(async () => [...(await owners()).values()].every((node) => node === other), {
    within: 3 * LEASE_TTL_MS,
    name: "the other node has taken all over",
  });
  // Lines, and not events: what was printed while nobody took it comes in one.
  const before = said().split("\n").length;
  await eventually(() => said().split("\n").length > before + 3 || events.some(endsJob), {
    within: 20_000,
    name: "its output goes on, or all of it has come",
  });
  nodes[owner]?.signal("SIGCONT");

  await reading;
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, n) => n + 1));
  expect(events.filter(endsJob)).toHaveLength(1);
  expect(events.at(-1)?.type).toBe("job.succeeded");
  expect(said()).toBe(Array.from({ length: LINES }, (_, n) => `line ${n + 1}\n`).join(""));
  await eventually(
    async () => {
      const counts = [...(await owners()).values()].filter((node) => node === owner);
      expect(counts).toHaveLength(4);
    },
    { within: 20_000, name: "the paused node has its share again" },
  );
  const log = client.sessionEvents(job.session_id, { after: 0 })[Symbol.asyncIterator]();
  expect((await log.next()).value).toMatchObject({ seq: 1 });
  await log.return?.(undefined);
  await transport.close();
}, 120_000);
