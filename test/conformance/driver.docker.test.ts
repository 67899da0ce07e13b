import { afterAll, beforeAll } from "vitest";
import { describeDocker } from "../support/docker.ts";
import { dockerDriverRig } from "../support/docker-driver-rig.ts";
import { type Broker, startBroker } from "../support/executor-rig.ts";
import { driverConformance } from "./driver.ts";

describeDocker("docker", () => {
  let broker: Broker;
  beforeAll(async () => {
    broker = await startBroker();
  });
  afterAll(async () => {
    await broker[Symbol.asyncDispose]();
  });
  driverConformance(() => dockerDriverRig(broker));
});
