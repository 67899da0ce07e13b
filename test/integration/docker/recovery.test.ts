/** What is left of a node's containers when the node, the engine's guest or somebody's hand ends things at the wrong moment. */
import { expect, test } from "vitest";
import { describeDocker, docker } from "../../support/docker.ts";
import { follow, spawnDockerBerth } from "../../support/docker-berth.ts";
import { eventually } from "../../support/eventually.ts";

const LINES = 40;
const SCRIPT = `i=0; while [ $i -lt ${LINES} ]; do echo "line $i"; i=$((i+1)); sleep 0.25; done`;
const allLines = Array.from({ length: LINES }, (_, i) => `line ${i}\n`).join("");
const TEST_MS = 120_000;
const JOB_MS = 60_000;

describeDocker("a container under a job", () => {
  test("outlives the death of every Berth process: it is adopted, and its events go on without a gap", {
    timeout: TEST_MS,
  }, async () => {
    await using host = await spawnDockerBerth();
    const client = await host.client();
    const { session_id } = await client.submit({ agent: "shell", prompt: SCRIPT });
    await using reader = follow(client, session_id);
    await eventually(() => expect(reader.output()).toContain("line 3"), {
      within: JOB_MS,
      name: "output",
    });
    const before = await host.workers();
    await host.berth.kill();
    await host.berth.start();
    await eventually(() => expect(reader.ends()).toHaveLength(1), {
      within: JOB_MS,
      name: "the end",
    });
    expect(reader.ends()[0]?.type).toBe("job.succeeded");
    expect(reader.output()).toBe(allLines);
    expect(reader.events.map(({ seq }) => seq)).toEqual(reader.events.map((_, i) => i + 1));
    const pro = ({ labels }: (typeof before)[number]) => labels["berth.tier"] === "pro";
    const after = await host.workers();
    expect(after.filter(pro)).toEqual(before.filter(pro));
  });

  test("that somebody removes by hand interrupts the job once, and the next job gets a new one", {
    timeout: TEST_MS,
  }, async () => {
    await using host = await spawnDockerBerth();
    const client = await host.client();
    const { session_id } = await client.submit({ agent: "shell", prompt: SCRIPT });
    await using reader = follow(client, session_id);
    await eventually(() => expect(reader.output()).toContain("line 1"), {
      within: JOB_MS,
      name: "output",
    });
    const [worker] = (await host.workers()).filter(({ labels }) => labels["berth.user"] === "dev");
    await docker.getContainer(worker!.id).remove({ force: true });
    await eventually(() => expect(reader.ends()).toHaveLength(1), {
      within: JOB_MS,
      name: "the end",
    });
    expect(reader.ends()[0]).toMatchObject({
      type: "job.interrupted",
      data: { will_retry: false },
    });
    const types: string[] = [];
    for await (const event of client.run({ agent: "shell", prompt: "echo next" }))
      types.push(event.type);
    expect(types.at(-1)).toBe("job.succeeded");
  });

  test("has labels that say whose it is, and so have its network and its volume", {
    timeout: TEST_MS,
  }, async () => {
    await using host = await spawnDockerBerth();
    const client = await host.client();
    for await (const event of client.run({ agent: "shell", prompt: "true" }))
      if (event.type === "job.started") break;
    const filters = {
      label: [`berth.deployment=${host.deployment}`, "berth.tenant=dev-pro", "berth.user=dev"],
    };
    const containers = await docker.listContainers({ filters });
    const networks = await docker.listNetworks({ filters });
    const { Volumes } = await docker.listVolumes({ filters: JSON.stringify(filters) as never });
    expect([containers.length, networks.length, Volumes?.length]).toEqual([1, 1, 1]);
    for (const labels of [containers[0]!.Labels, networks[0]!.Labels!, Volumes[0]!.Labels])
      expect(labels).toMatchObject({ "berth.tier": "pro", "berth.agent": "" });
    expect(containers[0]!.Labels["berth.incarnation"]).toMatch(/^wrk_/);
  });
});
