import { afterAll, beforeAll, describe } from "vitest";
import { type Broker, startBroker } from "../support/executor-rig.ts";
import { processDriverRig } from "../support/process-driver-rig.ts";
import { driverConformance } from "./driver.ts";

describe("process", () => {
  let broker: Broker;
  beforeAll(async () => {
    broker = await startBroker();
  });
  afterAll(async () => {
    await broker[Symbol.asyncDispose]();
  });
  driverConformance(() => processDriverRig(broker));
});
