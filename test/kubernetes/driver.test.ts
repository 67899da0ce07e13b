import { afterAll, beforeAll, describe } from "vitest";
import { driverConformance } from "../conformance/driver.ts";
import { type Broker, startBroker } from "../support/executor-rig.ts";
import { workersNamespace } from "../support/kubernetes.ts";
import { kubernetesDriverRig } from "../support/kubernetes-driver-rig.ts";

describe("kubernetes", () => {
  let broker: Broker;
  let workers: Awaited<ReturnType<typeof workersNamespace>>;
  beforeAll(async () => {
    broker = await startBroker();
    workers = await workersNamespace();
  });
  afterAll(async () => {
    await workers[Symbol.asyncDispose]();
    await broker[Symbol.asyncDispose]();
  });
  driverConformance(() => kubernetesDriverRig(broker, { namespace: workers.name }));
});
