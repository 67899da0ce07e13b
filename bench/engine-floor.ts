/** What the engine needs by itself: for a container of the same image and limits, from its creation to its first output. */

import { once } from "node:events";
import { availableParallelism } from "node:os";
import type Docker from "dockerode";
import { containerOptions } from "../executor/drivers/docker/container-spec.ts";
import { DEFAULT_TIERS, type Tier } from "../protocols/tiers.ts";
import { docker, IMAGE } from "./docker-berth.ts";
import { within } from "./load.ts";
import type { Bench } from "./scenario.ts";

const OUTPUT_MS = 30_000;
/** Between two outputs of the paused container: half of it is in the measured time, on average. */
const BABBLE = "while :; do echo x; sleep 0.002; done";

/** A network as workers have, with nothing else in it. */
export async function floorNetwork(bench: Bench): Promise<string> {
  const name = `berth-bench-floor-${process.pid}`;
  const network = await docker.createNetwork({
    Name: name,
    Internal: false,
    Options: { "com.docker.network.bridge.enable_icc": "false" },
  });
  bench.undo(() => network.remove());
  return name;
}

let count = 0;

function optionsOf(tier: Tier, network: string): Docker.ContainerCreateOptions {
  const limits = DEFAULT_TIERS[tier];
  return containerOptions({
    name: `berth-bench-floor-${process.pid}-${++count}`,
    image: IMAGE,
    labels: {},
    size: {
      tier,
      workspace: limits.workspace,
      cpus: limits.cpus,
      memory_bytes: limits.memoryBytes,
      storage_bytes: limits.storageBytes,
      processes: limits.processes,
      network: limits.network,
      internet: limits.internet,
    },
    env: { BERTH_IDENTITY: "stdin", BERTH_WORKSPACE: "/tmp" },
    processors: availableParallelism(),
    network,
    mounts: {},
    runtime: undefined,
  });
}

/** Creation, attachment, start, first output; the removal is not measured. */
export async function createToFirstOutput(network: string): Promise<number> {
  const options = optionsOf("pro", network);
  const began = performance.now();
  const container = await docker.createContainer(options);
  try {
    const stream = await container.attach({ stream: true, stdout: true, stderr: true });
    const first = once(stream, "data");
    await container.start();
    await within(OUTPUT_MS, "the first output of a container", first);
    return performance.now() - began;
  } finally {
    await container.remove({ force: true });
  }
}

export interface Babbler {
  /** From the order to unpause to the next output. */
  unpauseToFirstOutput(): Promise<number>;
}

/** One container that writes all the time, paused between measurements. */
export async function startBabbler(bench: Bench, network: string): Promise<Babbler> {
  const options = { ...optionsOf("pro", network), Entrypoint: ["sh", "-c", BABBLE] };
  const container = await docker.createContainer(options);
  bench.undo(() => container.remove({ force: true }));
  const stream = await container.attach({ stream: true, stdout: true, stderr: true });
  await container.start();
  await within(OUTPUT_MS, "the first output of a container", once(stream, "data"));
  return {
    async unpauseToFirstOutput() {
      await container.pause();
      // What was on its way arrives before the measurement begins.
      await new Promise((resolve) => setTimeout(resolve, 50));
      const first = once(stream, "data");
      const began = performance.now();
      await container.unpause();
      await within(OUTPUT_MS, "the next output", first);
      return performance.now() - began;
    },
  };
}
