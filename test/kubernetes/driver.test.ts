import { describe } from "vitest";
import { driverConformance } from "../conformance/driver.ts";
import { clusterStage } from "../support/cluster-stage.ts";
import { kubernetesDriverRig } from "../support/kubernetes-driver-rig.ts";

describe("kubernetes", () => {
  const stage = clusterStage();
  driverConformance(() => kubernetesDriverRig(stage.broker(), { namespace: stage.namespace() }));
});
