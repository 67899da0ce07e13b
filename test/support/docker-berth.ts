/** `berth up` with the Docker driver as a process of its own, under a deployment of its own; disposal shows that nothing of it is left. */
import { randomBytes } from "node:crypto";
import { BerthClient } from "../../gateway/client.ts";
import { endsJob, type SessionEvent } from "../../protocols/events.ts";
import { type BerthProcess, spawnBerth } from "./berth-process.ts";
import { docker, EXECUTOR_IMAGE } from "./docker.ts";
import { leftovers } from "./docker-driver-rig.ts";
import { eventually } from "./eventually.ts";

export interface DockerBerth extends AsyncDisposable {
  readonly berth: BerthProcess;
  readonly deployment: string;
  client(tier?: "free" | "pro" | "enterprise" | "operator"): Promise<BerthClient>;
  /** Containers of workers that run, with their labels. */
  workers(): Promise<
    readonly { readonly id: string; readonly labels: Readonly<Record<string, string>> }[]
  >;
}

export async function spawnDockerBerth(
  env: Readonly<Record<string, string>> = {},
): Promise<DockerBerth> {
  const deployment = `test-${randomBytes(4).toString("hex")}`;
  const berth = await spawnBerth({
    BERTH_DRIVER: "docker",
    BERTH_DOCKER_IMAGE: EXECUTOR_IMAGE,
    BERTH_DEPLOYMENT: deployment,
    BERTH_FLEET_AGENTS: "",
    BERTH_TIERS: JSON.stringify({
      free: { minWorkers: 1, maxWorkers: 2, dormantWorkers: 0 },
      pro: { dormantWorkers: 0 },
      enterprise: { minWorkers: 0 },
    }),
    ...env,
  });
  return {
    berth,
    deployment,
    async client(tier = "pro") {
      const { url, keys } = await berth.dev();
      return new BerthClient({ url, key: keys[tier], patienceMs: 60_000 });
    },
    async workers() {
      const filters = { label: [`berth.deployment=${deployment}`, "berth.part=worker"] };
      const found = await docker.listContainers({ filters });
      return found.map(({ Id, Labels }) => ({ id: Id, labels: Labels }));
    },
    async [Symbol.asyncDispose]() {
      await berth.terminate();
      try {
        await eventually(
          async () => {
            const left = (await leftovers(deployment)).filter((name) => !name.startsWith("volume"));
            if (left.length > 0) throw new Error(left.join(", "));
          },
          { name: "no container and no network is left", within: 20_000 },
        );
      } finally {
        await removeAll(deployment);
        await berth[Symbol.asyncDispose]();
      }
    },
  };
}

/** Removes what a failed test left, and the workspaces that a stop keeps. */
export async function removeAll(deployment: string): Promise<void> {
  const filters = { label: [`berth.deployment=${deployment}`] };
  for (const { Id } of await docker.listContainers({ all: true, filters }))
    await docker
      .getContainer(Id)
      .remove({ force: true })
      .catch(() => {});
  for (const { Id } of await docker.listNetworks({ filters }))
    await docker
      .getNetwork(Id)
      .remove()
      .catch(() => {});
  const { Volumes } = await docker.listVolumes({ filters: JSON.stringify(filters) as never });
  for (const { Name } of Volumes ?? [])
    await docker
      .getVolume(Name)
      .remove()
      .catch(() => {});
}

/** A session's events from its start, read in the background, coming back after every disconnect. */
export function follow(client: BerthClient, session: string) {
  const events: SessionEvent[] = [];
  const stop = new AbortController();
  const reading = (async () => {
    for await (const event of client.sessionEvents(session, { after: 0, signal: stop.signal }))
      events.push(event);
  })().catch(() => undefined);
  return {
    events,
    output: () =>
      events
        .filter(({ type }) => type === "agent.output")
        .map(({ data }) => String(data["text"]))
        .join(""),
    ends: () => events.filter(endsJob),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await reading;
    },
  };
}
