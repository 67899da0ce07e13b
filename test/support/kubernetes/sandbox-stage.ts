/** A cluster's stage on which sandboxes are served, and made into pods. */
import { afterAll, beforeAll } from "vitest";
import { type ClusterStage, clusterStage } from "../cluster-stage.ts";
import { SandboxController } from "./sandbox-controller.ts";
import { areSandboxesThere, installSandboxes } from "./sandbox-definition.ts";

export interface SandboxStage extends ClusterStage {
  /** What makes pods is away while `act` runs. */
  withoutController<T>(act: () => Promise<T>): Promise<T>;
}

/** Whether sandboxes are served, and made into pods, while the tests of the surrounding block run. A cluster's own are taken. */
export function sandboxes(namespace: () => string): Pick<SandboxStage, "withoutController"> {
  let installed: AsyncDisposable | undefined;
  let controller: SandboxController | undefined;
  beforeAll(async () => {
    if (areSandboxesThere()) return;
    installed = await installSandboxes();
    controller = await SandboxController.start(namespace());
  });
  afterAll(async () => {
    await controller?.[Symbol.asyncDispose]();
    await installed?.[Symbol.asyncDispose]();
  });
  return {
    withoutController: async (act) => {
      await controller?.[Symbol.asyncDispose]();
      try {
        return await act();
      } finally {
        controller = await SandboxController.start(namespace());
      }
    },
  };
}

export function sandboxStage(): SandboxStage {
  const stage = clusterStage();
  return { ...stage, ...sandboxes(stage.namespace) };
}
