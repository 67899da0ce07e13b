/**
 * The image that the README names, from its build to its second start: built without an image registry, or with one
 * as people do where BERTH_TEST_DOCKER is `registry`.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { BerthClient } from "../../../gateway/client.ts";
import type { SessionEvent } from "../../../protocols/events.ts";
import { buildImage, type ContainerHost, openContainerHost } from "../../support/container.ts";
import { describeDocker } from "../../support/docker.ts";
import { eventually } from "../../support/eventually.ts";

const offline = process.env["BERTH_TEST_DOCKER"] !== "registry";
const BUILD_MS = 20 * 60_000;
const TEST_MS = 5 * 60_000;
const DOCKERS_PATIENCE_MS = 10_000;

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

describeDocker("the image with everything in it", () => {
  let host: ContainerHost;
  beforeAll(async () => {
    await buildImage({ offline });
    host = await openContainerHost();
  }, BUILD_MS);
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
    const asked = performance.now();
    expect(await first.stop()).toBe(0);
    expect(performance.now() - asked).toBeLessThan(DOCKERS_PATIENCE_MS);

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
