/** What a soak does to containers, nodes and the engine. Each resolves when the thing is back, or gone for good. */
import type { Random } from "../chaos/random.ts";
import { docker } from "../support/docker.ts";
import type { EngineProcess } from "../support/engine-process.ts";
import type { SoakStage } from "./stage.ts";

export const FAULTS = [
  "kill-container",
  "remove-container",
  "kill-node",
  "kill-all",
  "kill-engine",
] as const;
export type FaultKind = (typeof FAULTS)[number];

const MAX_DOWN_MS = 3_000;

export interface FaultScene {
  readonly stage: SoakStage;
  readonly random: Random;
  /** Undefined: it is not ours to kill. */
  readonly engine: EngineProcess | undefined;
  readonly pause: (ms: number) => Promise<void>;
}

/** Resolves with what was hit; undefined when there was nothing to hit. */
export async function inject(kind: FaultKind, scene: FaultScene): Promise<string | undefined> {
  const { engine, pause, random, stage } = scene;
  const downMs = random.int(0, MAX_DOWN_MS);
  switch (kind) {
    case "kill-container":
    case "remove-container": {
      const id = await anyContainer(scene);
      if (id === undefined) return undefined;
      const container = docker.getContainer(id);
      // It may end by itself between the look and the blow.
      if (kind === "kill-container") await container.kill({ signal: "SIGKILL" }).catch(() => {});
      else await container.remove({ force: true }).catch(() => {});
      return id.slice(0, 12);
    }
    case "kill-node":
      await stage.second.kill();
      await pause(downMs);
      await stage.second.start();
      return "the second node";
    case "kill-all":
      await stage.host.berth.kill();
      await pause(downMs);
      await stage.host.berth.start();
      return "broker, gateway and the first node";
    case "kill-engine":
      if (engine === undefined) return undefined;
      await engine.kill();
      await pause(downMs);
      await engine.start();
      return "the engine";
  }
}

async function anyContainer({ random, stage }: FaultScene): Promise<string | undefined> {
  const filters = { label: [`berth.deployment=${stage.host.deployment}`] };
  const found = await docker.listContainers({ filters });
  return found.length === 0 ? undefined : random.pick(found).Id;
}
