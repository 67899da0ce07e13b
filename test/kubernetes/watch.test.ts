/** The API goes away and comes back while workers live, die and are wanted. */
import { describe, expect, it } from "vitest";
import type { WorkerExit } from "../../executor/drivers/driver.ts";
import { clusterStage } from "../support/cluster-stage.ts";
import { eventually } from "../support/eventually.ts";
import { isClusterOurs, killPart, kubectl, restartPart } from "../support/kubernetes.ts";
import { kubernetesDriverRig } from "../support/kubernetes-driver-rig.ts";
import { workerSpec } from "../support/worker-specs.ts";

describe("a driver whose cluster's API goes away", () => {
  const stage = clusterStage();

  it.skipIf(!isClusterOurs)(
    "refuses what it cannot do meanwhile, and then tells of what ended, keeps what lives, and starts what is wanted",
    async () => {
      await using rig = await kubernetesDriverRig(stage.broker(), { namespace: stage.namespace() });
      const exits: WorkerExit[] = [];
      rig.driver.watch((exit) => exits.push(exit));
      const [kept, lost, late] = [workerSpec(), workerSpec(), workerSpec()];
      for (const spec of [kept, lost]) {
        await rig.driver.start(spec, rig.connection);
        await eventually(() => rig.hellos(spec.worker) > 0, { name: "hello", within: 20_000 });
      }
      await killPart("apiserver");
      try {
        await rig.crash(lost.worker);
        await expect(rig.driver.start(late, rig.connection)).rejects.toMatchObject({
          code: "driver.failed",
        });
        const both = [kept.worker, lost.worker];
        expect((await rig.driver.list()).map(({ worker }) => worker)).toEqual(both);
        expect(exits).toEqual([]);
      } finally {
        restartPart("apiserver");
      }
      await eventually(() => exits.length > 0, { name: "exit", within: 60_000 });
      expect(exits.map(({ worker }) => worker)).toEqual([lost.worker]);
      expect(await rig.driver.list()).toEqual([{ worker: kept.worker, spec: kept }]);
      // The cluster's other parts come back in their own time: as a supervisor would, again and again.
      await eventually(() => rig.driver.start(late, rig.connection), {
        name: "start",
        within: 90_000,
      });
      await eventually(() => rig.hellos(late.worker) > 0, { name: "hello", within: 20_000 });
      expect(exits).toHaveLength(1);
    },
  );

  it("sees a pod that was removed while it could not look as an end", async () => {
    await using rig = await kubernetesDriverRig(stage.broker(), { namespace: stage.namespace() });
    const spec = workerSpec();
    await rig.driver.start(spec, rig.connection);
    await eventually(() => rig.hellos(spec.worker) > 0, { name: "hello", within: 20_000 });
    await rig.driver.dispose();
    const pod = rig.pod(spec.worker);
    kubectl(["--namespace", rig.namespace, "delete", "pod", pod, "--force", "--grace-period=0"]);
    const again = await rig.reopen();
    expect(await again.list()).toEqual([]);
  });
});
