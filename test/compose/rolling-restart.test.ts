/** Every component of the production stack replaced by a new one, one after the other, while users go on. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BerthClient } from "../../gateway/client.ts";
import { endsJob, type SessionEvent } from "../../protocols/events.ts";
import { systemClock } from "../../runtime/clock.ts";
import { type Balancer, startBalancer } from "../support/balancer.ts";
import { COMPOSE, type ComposeStack, composeUp, describeCompose } from "../support/compose.ts";
import { buildImages } from "../support/container.ts";
import { docker } from "../support/docker.ts";
import { follow } from "../support/docker-berth.ts";
import { eventually } from "../support/eventually.ts";
import { ROOT } from "../support/source.ts";
import { openTenant } from "../support/tenant.ts";

const run = promisify(execFile);

const BUILD_MS = 20 * 60_000;
const TEST_MS = 12 * 60_000;
const USERS = 3;
const GATEWAY_PORT = 8_000;
const SERVICES = ["nats-0", "nats-1", "nats-2", "node-0", "node-1", "gateway"];
const TIERS = {
  free: { minWorkers: 1, maxWorkers: 2, dormantWorkers: 0 },
  pro: { dormantWorkers: 0, jobsPerHour: 100_000, requestsPerMinute: 100_000 },
};
const LONG_JOB = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.3; done";

interface Accepted {
  readonly id: string;
  readonly mark: string;
  readonly client: BerthClient;
}

/** Jobs one after the other until the signal; each failed request that the client did not make good is kept. */
async function keepWorking(client: BerthClient, user: number, signal: AbortSignal) {
  const accepted: Accepted[] = [];
  const failed: string[] = [];
  for (let n = 1; !signal.aborted; n += 1) {
    const mark = `user-${user}-job-${n}`;
    try {
      const { id } = await client.submit({ agent: "shell", prompt: `echo ${mark}; sleep 0.2` });
      accepted.push({ id, mark, client });
      for await (const event of client.jobEvents(id)) if (endsJob(event)) break;
      await client.limits();
    } catch (thrown) {
      failed.push(`${mark}: ${String(thrown)}`);
    }
  }
  return { accepted, failed };
}

async function eventsOf({ client, id }: Accepted): Promise<SessionEvent[]> {
  const events: SessionEvent[] = [];
  for await (const event of client.jobEvents(id)) events.push(event);
  return events;
}

describeCompose("a rolling restart of the production stack", () => {
  let stack: ComposeStack;
  let front: Balancer;
  beforeAll(async () => {
    await buildImages("node", "gateway", "all-in-one");
    stack = await composeUp({
      files: ["production.yaml", "broker-tls.yaml"],
      env: { BERTH_TIERS: JSON.stringify(TIERS), BERTH_AGENTS: "shell" },
    });
    front = await startBalancer(() => stack.addresses("gateway", "frontend"), GATEWAY_PORT);
  }, BUILD_MS);
  afterAll(async () => {
    await front?.[Symbol.asyncDispose]();
    await stack?.[Symbol.asyncDispose]();
  }, TEST_MS);

  const containers = async () => {
    const label = [`com.docker.compose.project=${stack.project}`];
    const found = await docker.listContainers({ filters: { label } });
    return new Map(found.map(({ Id, Labels }) => [Id, Labels["com.docker.compose.service"] ?? ""]));
  };

  test("fails no request, loses no job, and lets streams and a running job go on", {
    timeout: TEST_MS,
  }, async () => {
    const operator = { url: front.url, key: await stack.operatorKey("node-0") };
    const tenant = await openTenant(operator, { tenant: "acme", tier: "pro" });
    const clientOf = async (user: string) =>
      new BerthClient({ url: front.url, key: await tenant.keyOf(user), patienceMs: 120_000 });

    const patient = await clientOf("patient");
    const long = await patient.submit({ agent: "shell", prompt: LONG_JOB });
    await using reader = follow(patient, long.session_id);
    await eventually(() => reader.output() !== "", { within: 60_000, name: "the long job prints" });

    const stop = new AbortController();
    const clients = await Promise.all(
      Array.from({ length: USERS }, (_, user) => clientOf(`user-${user}`)),
    );
    const working = clients.map((client, user) => keepWorking(client, user, stop.signal));
    const before = await containers();
    const began = systemClock.monotonic();
    // Rejects with what it said when it does not get to its end.
    await run("sh", [join(ROOT, "deploy", "compose", "rolling-restart.sh"), ...stack.given], {
      timeout: TEST_MS,
      env: { ...process.env, COMPOSE: COMPOSE.join(" ") },
    });
    const tookMs = systemClock.monotonic() - began;
    stop.abort();

    const worked = await Promise.all(working);
    expect(worked.flatMap(({ failed }) => failed)).toEqual([]);
    const accepted = worked.flatMap((one) => one.accepted);
    expect(accepted.length).toBeGreaterThan(20);
    for (const job of accepted) {
      const events = await eventsOf(job);
      const output = events.filter(({ type }) => type === "agent.output");
      expect({ job: job.mark, ends: events.filter(endsJob).map(({ type }) => type) }).toEqual({
        job: job.mark,
        ends: ["job.succeeded"],
      });
      expect(output.map(({ data }) => data["text"]).join("")).toBe(`${job.mark}\n`);
    }

    // The same process, from its first line to its last.
    const lines = reader.output().trim().split("\n").map(Number);
    expect(lines).toEqual(lines.map((_, at) => at + 1));
    expect(lines.length).toBeGreaterThan(tookMs / 1_000);
    expect(reader.events.map(({ seq }) => seq)).toEqual(reader.events.map((_, at) => at + 1));
    await patient.cancel(long.id);
    await eventually(() => reader.ends().length > 0, { within: 30_000, name: "it is cancelled" });
    expect(reader.ends().map(({ type }) => type)).toEqual(["job.cancelled"]);

    const after = await containers();
    expect([...before.keys()].filter((id) => after.has(id))).toEqual([]);
    expect([...after.values()].toSorted()).toEqual([...SERVICES, "gateway"].toSorted());
  });
});
