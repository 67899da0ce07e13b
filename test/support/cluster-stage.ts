/** What tests on a cluster share in one file: a broker, and a namespace for workers. */
import { afterAll, beforeAll } from "vitest";
import { type Broker, startBroker } from "./executor-rig.ts";
import { workersNamespace } from "./kubernetes.ts";

export interface ClusterStage {
  readonly broker: () => Broker;
  readonly namespace: () => string;
}

/** Set up before the tests of the surrounding block, and taken away after them, also when half of it is there. */
export function clusterStage(): ClusterStage {
  let broker: Broker | undefined;
  let workers: Awaited<ReturnType<typeof workersNamespace>> | undefined;
  beforeAll(async () => {
    broker = await startBroker();
    workers = await workersNamespace();
  });
  afterAll(async () => {
    await workers?.[Symbol.asyncDispose]();
    await broker?.[Symbol.asyncDispose]();
  });
  const there = <T>(one: T | undefined): T => {
    if (one === undefined) throw new Error("the stage is not set up yet");
    return one;
  };
  return { broker: () => there(broker), namespace: () => there(workers).name };
}
