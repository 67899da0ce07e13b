/** What goes wrong in a cluster: starts that cannot be, and ends that nobody asked for. */
import { describe, expect, it } from "vitest";
import type { WorkerExit } from "../../executor/drivers/driver.ts";
import type { WorkerSpec } from "../../protocols/executor.ts";
import { clusterStage } from "../support/cluster-stage.ts";
import { eventually } from "../support/eventually.ts";
import { clusterLeftovers, isClusterOurs, kubectl, pidOf } from "../support/kubernetes.ts";
import { type KubernetesRig, kubernetesDriverRig } from "../support/kubernetes-driver-rig.ts";
import { workerSpec } from "../support/worker-specs.ts";

const MIB = 1024 ** 2;

describe("a cluster in which things go wrong", () => {
  const stage = clusterStage();
  const open = (environment: Readonly<Record<string, string>> = {}) =>
    kubernetesDriverRig(stage.broker(), { namespace: stage.namespace(), environment });
  const podsOf = ({ deployment, namespace }: KubernetesRig) =>
    clusterLeftovers(namespace, deployment).filter((name) => /^(?:pod|secret)\//.test(name));
  const started = async (rig: KubernetesRig, spec: WorkerSpec) => {
    await rig.driver.start(spec, rig.connection);
    await eventually(() => rig.hellos(spec.worker) > 0, { name: "hello", within: 20_000 });
  };
  const exitOf = async (rig: KubernetesRig, act: () => void | Promise<void>, within: number) => {
    const exits: WorkerExit[] = [];
    rig.driver.watch((exit) => exits.push(exit));
    await act();
    await eventually(() => exits.length > 0, { name: "exit", within });
    return exits;
  };
  const remove = (rig: KubernetesRig, spec: WorkerSpec) =>
    kubectl(["--namespace", rig.namespace, "delete", "pod", rig.pod(spec.worker), "--wait=false"]);

  it.each([
    [{ BERTH_KUBERNETES_IMAGE: "berth-no-such-image" }, /ErrImageNeverPull/],
    [{ BERTH_KUBERNETES_IMAGE: "Not A Name" }, /InvalidImageName/],
    [
      {
        BERTH_KUBERNETES_IMAGE: "127.0.0.1:9/nobody/listens:here",
        BERTH_KUBERNETES_PULL_POLICY: "Always",
      },
      /ErrImagePull|ImagePullBackOff/,
    ],
    [{ BERTH_KUBERNETES_RUNTIME_CLASS: "no-such-runtime" }, /no-such-runtime/],
  ])(
    "fails a start with %j in seconds, in the cluster's words, and leaves nothing",
    async (environment, words) => {
      await using rig = await open(environment);
      const begun = performance.now();
      await expect(rig.driver.start(workerSpec(), rig.connection)).rejects.toMatchObject({
        code: "driver.failed",
        message: expect.stringMatching(words),
      });
      expect(performance.now() - begun).toBeLessThan(15_000);
      expect(await rig.driver.list()).toEqual([]);
      await eventually(() => podsOf(rig).length === 0, { name: "nothing is left", within: 10_000 });
    },
  );

  it("says that there is no room for a worker, after the time that was set", async () => {
    await using rig = await open({ BERTH_KUBERNETES_PLACE_WITHIN: "2s" });
    const begun = performance.now();
    await expect(rig.driver.start(workerSpec({ cpus: 64 }), rig.connection)).rejects.toMatchObject({
      code: "capacity.exhausted",
      message: expect.stringMatching(/Insufficient cpu/),
    });
    expect(performance.now() - begun).toBeGreaterThan(2_000);
    await eventually(() => podsOf(rig).length === 0, { name: "nothing is left", within: 10_000 });
  });

  it("says that there is no room where a quota is used up", async () => {
    const quota = { kind: "ResourceQuota", apiVersion: "v1", metadata: { name: "full" } };
    const text = JSON.stringify({ ...quota, spec: { hard: { pods: "0" } } });
    kubectl(["--namespace", stage.namespace(), "apply", "--filename=-"], text);
    try {
      await using rig = await open();
      await eventually(
        async () => {
          const thrown = await rig.driver.start(workerSpec(), rig.connection).catch((e) => e);
          expect(thrown).toMatchObject({ code: "capacity.exhausted" });
        },
        { name: "the quota holds", within: 20_000 },
      );
    } finally {
      kubectl(["--namespace", stage.namespace(), "delete", "resourcequota", "full"]);
    }
  });

  it("tells of a worker that ran out of memory, with its limit", async () => {
    await using rig = await open();
    const spec = workerSpec({ memory_bytes: 128 * MIB });
    await started(rig, spec);
    // What is in /tmp is memory that nobody else can have: once it is full, the worker itself is next.
    const fill = "dd if=/dev/zero of=/tmp/fill bs=1M count=200 status=none || true";
    const act = () => rig.run(spec.worker, "sh", "-c", fill);
    const exits = await exitOf(rig, act, 60_000);
    expect(exits).toEqual([
      {
        worker: spec.worker,
        spec,
        code: "worker.out_of_memory",
        reason: "out of memory: its limit is 128 MiB",
      },
    ]);
    expect(podsOf(rig)).toEqual([]);
  });

  it("tells of a worker that was evicted for what it stored", async () => {
    await using rig = await open();
    const spec = workerSpec({ storage_bytes: 8 * MIB });
    await started(rig, spec);
    const fill = "dd if=/dev/zero of=/tmp/berth/workspace/fill bs=1M count=40 status=none";
    const exits = await exitOf(rig, () => void rig.exec(spec.worker, "sh", "-c", fill), 90_000);
    expect(exits).toMatchObject([{ worker: spec.worker, code: "worker.lost" }]);
    expect(exits[0]?.reason).toMatch(/^its pod was evicted: .*workspace/);
    expect(podsOf(rig)).toEqual([]);
  });

  it("tells of a worker whose pod somebody else ended, once it has, and keeps its log", async () => {
    await using rig = await open();
    const spec = workerSpec();
    await started(rig, spec);
    const exits = await exitOf(rig, () => void remove(rig, spec), 30_000);
    expect(exits).toMatchObject([
      { worker: spec.worker, reason: "its pod was told to end by the cluster" },
    ]);
    expect(await rig.driver.log(spec.worker)).toContain("worker ready");
    expect(await rig.driver.list()).toEqual([]);
  });

  it.skipIf(!isClusterOurs)(
    "stops a worker, and tells of others, although their machine is lost and confirms nothing",
    async () => {
      await using rig = await open();
      const [stopped, lost] = [workerSpec(), workerSpec()];
      await started(rig, stopped);
      await started(rig, lost);
      const kubelet = pidOf("kubelet");
      process.kill(kubelet, "SIGSTOP");
      try {
        const begun = performance.now();
        await rig.driver.stop(stopped.worker, { keepWorkspace: false });
        expect(performance.now() - begun).toBeLessThan(20_000);
        // As the cluster does for every pod of a machine that it has lost, while it has others.
        const exits = await exitOf(rig, () => void remove(rig, lost), 60_000);
        expect(exits).toMatchObject([
          { worker: lost.worker, code: "worker.lost", reason: "its pod's machine was lost" },
        ]);
        expect(await rig.driver.list()).toEqual([]);
      } finally {
        process.kill(kubelet, "SIGCONT");
      }
      await eventually(() => kubectl(["get", "node", "node1"]).includes(" Ready"), {
        name: "the machine is back",
        within: 60_000,
      });
    },
  );
});
