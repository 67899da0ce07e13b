/** The tree as it runs: installed by its own files on a real cluster, it runs a job and replaces its parts under it. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { BerthClient } from "../../gateway/client.ts";
import { endsJob, type SessionEvent } from "../../protocols/events.ts";
import { buildImages } from "../support/container.ts";
import { eventually } from "../support/eventually.ts";
import { type Installation, install } from "../support/kubernetes/installation.ts";
import { describeKustomize } from "../support/kubernetes/kustomize.ts";
import { openTenant } from "../support/tenant.ts";

const BUILD_MS = 20 * 60_000;
const TEST_MS = 5 * 60_000;
const SECONDS = 100;
/** How long the machine takes to let go of the old node: longer than a worker lasts alone by default. */
const HELD_MS = 65_000;

describeKustomize("the development environment on a cluster", () => {
  let berth: Installation;
  let key: string;
  beforeAll(async () => {
    await buildImages("node", "gateway", "all-in-one");
    berth = await install();
    const operator = { url: berth.url(), key: berth.operatorKey() };
    const tenant = await openTenant(operator, { tenant: "acme", tier: "free" });
    key = await tenant.keyOf("ann");
  }, BUILD_MS);
  afterAll(() => berth?.[Symbol.asyncDispose](), TEST_MS);

  const client = () => new BerthClient({ url: berth.url(), key });
  const eventsOf = async (session: string): Promise<SessionEvent[]> => {
    const response = await fetch(`${berth.url()}/v1/sessions/${session}/events?limit=1000`, {
      headers: { authorization: `Bearer ${key}` },
    });
    return ((await response.json()) as { data: SessionEvent[] }).data;
  };
  const outputOf = (events: readonly SessionEvent[]) =>
    events
      .filter(({ type }) => type === "agent.output")
      .map(({ data }) => String(data["text"]))
      .join("");

  it(
    "runs a job in a pod of its own, within the bounds of its namespace",
    async () => {
      const ends: string[] = [];
      const output: string[] = [];
      for await (const event of client().run({ agent: "shell", prompt: "id -u; pwd" })) {
        if (event.type === "agent.output") output.push(String(event.data["text"]));
        if (endsJob(event)) ends.push(event.type);
      }
      expect(ends).toEqual(["job.succeeded"]);
      expect(output.join("")).toMatch(/^1000\n/);
      expect(berth.workers()).not.toEqual([]);
      const path = "jsonpath={.items[*].spec.priority}";
      const selector = "--selector=berth.part=worker";
      const ranks = berth.kubectl("execution", "get", "pods", selector, `--output=${path}`);
      expect(new Set(ranks.split(" "))).toEqual(new Set(["1000"]));
    },
    TEST_MS,
  );

  /** Its machine is slow to let a pod go: until it has, nobody takes the pod's place. */
  const hold = (pod: string, isHeld: boolean) => {
    const finalizers = isHeld ? ["berth.test/held"] : null;
    const patch = JSON.stringify({ metadata: { finalizers } });
    berth.kubectl("backend", "patch", "pod", pod, "--type=merge", `--patch=${patch}`);
  };

  const hasProcess = (pod: string): boolean => {
    const path = "jsonpath={.status.containerStatuses[0].state.running.startedAt}";
    return berth.kubectl("backend", "get", "pod", pod, `--output=${path}`) !== "";
  };

  it(
    "keeps a job running while its gateway is replaced, and its only node, which is away for a minute",
    async () => {
      const prompt = `for i in $(seq ${SECONDS}); do echo $i; sleep 1; done`;
      const { session_id: session } = await client().submit({ agent: "shell", prompt });
      await eventually(async () => outputOf(await eventsOf(session)).includes("3\n"), {
        name: "the job runs",
        within: 60_000,
      });
      const workers = berth.workers();
      hold("node-0", true);
      try {
        berth.kubectl("backend", "rollout", "restart", "statefulset/node");
        berth.kubectl("frontend", "rollout", "restart", "deployment/gateway");
        await eventually(() => !hasProcess("node-0"), {
          name: "its node has ended",
          within: 90_000,
        });
        const since = performance.now();
        await eventually(() => performance.now() - since > HELD_MS, {
          name: "its node has been away for long",
          within: 2 * HELD_MS,
        });
      } finally {
        hold("node-0", false);
      }
      const isReplaced = (layer: string, what: string) =>
        /successfully|complete/.test(
          berth.kubectl(layer, "rollout", "status", what, "--watch=false"),
        );
      await eventually(
        () =>
          isReplaced("backend", "statefulset/node") && isReplaced("frontend", "deployment/gateway"),
        { name: "both are replaced", within: 180_000 },
      );
      const events = await eventually(
        async () => {
          const all = await eventsOf(session);
          return all.some(endsJob) && all;
        },
        { name: "the job ends", within: 120_000 },
      );
      // With its data, which says why another end came.
      const ends = events.filter(endsJob).map(({ data, type }) => ({ type, data }));
      expect(ends).toEqual([{ type: "job.succeeded", data: { exit_code: 0 } }]);
      const lines = Array.from({ length: SECONDS }, (_, at) => `${at + 1}\n`).join("");
      expect(outputOf(events)).toBe(lines);
      expect(events.filter(({ type }) => type === "job.started")).toHaveLength(1);
      // The same worker: its node came back under its name, and took it up again.
      expect(berth.workers()).toEqual(expect.arrayContaining(workers));
    },
    TEST_MS,
  );
});
