/** Workers as sandboxes of agent-sandbox: what every driver promises, and what only what makes pods again can spoil. */
import { describe, expect, it } from "vitest";
import type { WorkerExit } from "../../executor/drivers/driver.ts";
import type { WorkerSpec } from "../../protocols/executor.ts";
import { driverConformance } from "../conformance/driver.ts";
import { clusterStage } from "../support/cluster-stage.ts";
import { NOTHING_WANTED } from "../support/docker-driver-rig.ts";
import { eventually } from "../support/eventually.ts";
import { areSandboxesThere } from "../support/kubernetes/sandbox-definition.ts";
import { sandboxStage } from "../support/kubernetes/sandbox-stage.ts";
import { clusterLeftovers, isClusterOurs, kubectl, kubectlJson } from "../support/kubernetes.ts";
import { type KubernetesRig, kubernetesDriverRig } from "../support/kubernetes-driver-rig.ts";
import { workerSpec } from "../support/worker-specs.ts";

const SANDBOXES = { BERTH_KUBERNETES_WORKERS: "sandboxes" };
const HOUR_MS = 3_600_000;

interface Seen {
  readonly metadata: {
    readonly uid: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status?: { readonly phase?: string };
}

describe("a cluster without agent-sandbox", () => {
  const stage = clusterStage();

  it.skipIf(!isClusterOurs)("is refused at the start, with what to install", async () => {
    expect(areSandboxesThere()).toBe(false);
    const opening = kubernetesDriverRig(stage.broker(), {
      namespace: stage.namespace(),
      environment: SANDBOXES,
    });
    await expect(opening).rejects.toMatchObject({
      code: "driver.unavailable",
      message: expect.stringMatching(/agents\.x-k8s\.io\/v1beta1: install agent-sandbox v0\.5\.0/),
    });
  });
});

describe("kubernetes, with sandboxes", () => {
  const stage = sandboxStage();
  const open = (environment: Readonly<Record<string, string>> = {}) =>
    kubernetesDriverRig(stage.broker(), {
      namespace: stage.namespace(),
      environment: { ...SANDBOXES, ...environment },
    });
  const here = () => `--namespace=${stage.namespace()}`;
  const left = ({ deployment, namespace }: KubernetesRig) =>
    clusterLeftovers(namespace, deployment, "sandboxes").filter((name) =>
      /^(?:pod|secret|sandbox\.agents\.x-k8s\.io)\//.test(name),
    );
  const nothingIsLeft = (rig: KubernetesRig) =>
    eventually(() => expect(left(rig)).toEqual([]), { name: "nothing is left", within: 20_000 });
  const started = async (rig: KubernetesRig, spec: WorkerSpec) => {
    await rig.driver.start(spec, rig.connection);
    await eventually(() => rig.hellos(spec.worker) > 0, { name: "hello", within: 20_000 });
  };
  const seen = (kind: "pod" | "sandbox", name: string) =>
    kubectlJson([here(), "get", kind, name]) as Seen;
  const removePod = (name: string) =>
    kubectl([here(), "delete", "pod", name, "--force", "--grace-period=0"]);
  const patch = (name: string, spec: object) =>
    kubectl([here(), "patch", "sandbox", name, "--type=merge", "-p", JSON.stringify({ spec })]);
  /** A worker that was heard, and whose node is away since: its pod's name and uid. */
  const abandoned = async (rig: KubernetesRig, spec: WorkerSpec) => {
    await started(rig, spec);
    rig.node.hellos.clear();
    const name = rig.pod(spec.worker);
    const { uid } = seen("pod", name).metadata;
    await rig.driver.dispose();
    return { name, uid };
  };
  /** Another pod of the same sandbox than that of this uid. */
  const next = (name: string, before: string) =>
    eventually(
      () => {
        const pod = seen("pod", name);
        expect(pod.metadata.uid).not.toBe(before);
        return pod;
      },
      { name: "another pod", within: 20_000 },
    );

  driverConformance(() => open());

  describe("that know workers by their incarnation", () => {
    it("hold a pod as it would be made directly, with its labels, and have no Service", async () => {
      await using rig = await open();
      const spec = workerSpec();
      await started(rig, spec);
      const sandbox = seen("sandbox", rig.pod(spec.worker));
      const pod = seen("pod", rig.pod(spec.worker));
      expect(sandbox.metadata.labels).toMatchObject({ "berth.incarnation": spec.worker });
      expect(pod.metadata.labels).toMatchObject(sandbox.metadata.labels);
      expect(pod.spec).toMatchObject({
        restartPolicy: "Never",
        automountServiceAccountToken: false,
        securityContext: { runAsNonRoot: true, fsGroup: 1000 },
      });
      expect(kubectl([here(), "get", "services", "--output=name"])).toBe("");
    });

    it("give no second life to a worker whose pod is gone, and tell of its end once", async () => {
      await using rig = await open();
      const [removed, drained, suspended, unmade] = [1, 2, 3, 4].map(() => workerSpec());
      const all = [removed, drained, suspended, unmade] as WorkerSpec[];
      await Promise.all(all.map((spec) => started(rig, spec)));
      rig.node.hellos.clear();
      const exits: WorkerExit[] = [];
      rig.driver.watch((exit) => exits.push(exit));
      const [first, second, third, fourth] = all.map(({ worker }) => rig.pod(worker));
      removePod(first ?? "");
      kubectl([here(), "delete", "pod", second ?? "", "--wait=false"]);
      patch(third ?? "", { operatingMode: "Suspended" });
      kubectl([here(), "delete", "sandbox", fourth ?? "", "--wait=false"]);
      // The cluster's collector learns of a new kind of owner within half a minute.
      await eventually(() => expect(exits).toHaveLength(4), { name: "exits", within: 60_000 });
      await nothingIsLeft(rig);
      expect(exits.map(({ worker }) => worker).toSorted()).toEqual(
        all.map(({ worker }) => worker).toSorted(),
      );
      expect(new Set(exits.map(({ code }) => code))).toEqual(new Set(["worker.lost"]));
      expect(rig.node.hellos.size).toBe(0);
      expect(exits).toHaveLength(4);
    });

    it("tell of an eviction as it was, and make no pod in its place", async () => {
      await using rig = await open();
      const spec = workerSpec({ storage_bytes: 8 * 1024 ** 2 });
      await started(rig, spec);
      const exits: WorkerExit[] = [];
      rig.driver.watch((exit) => exits.push(exit));
      const fill = "dd if=/dev/zero of=/tmp/berth/workspace/fill bs=1M count=40 status=none";
      rig.exec(spec.worker, "sh", "-c", fill);
      await eventually(() => expect(exits).toHaveLength(1), { name: "exit", within: 90_000 });
      expect(exits[0]).toMatchObject({ worker: spec.worker, code: "worker.lost" });
      expect(exits[0]?.reason).toMatch(/^its pod was evicted: .*workspace/);
      await nothingIsLeft(rig);
    });

    it("make a pod again whose node is away: it finds no identity, is adopted by nobody, and goes with its sandbox", async () => {
      await using rig = await open();
      const { name, uid } = await abandoned(rig, workerSpec());
      removePod(name);
      await next(name, uid);
      const again = await rig.reopen();
      expect(await again.list()).toEqual([]);
      expect(await again.sweep(NOTHING_WANTED)).toEqual([`pod ${name}`]);
      await nothingIsLeft(rig);
      expect(rig.node.hellos.size).toBe(0);
    });

    it("have a node sweep when a pod comes that it did not start, and go with that pod", async () => {
      await using rig = await open();
      const spec = workerSpec();
      await started(rig, spec);
      const { metadata, spec: own } = seen("sandbox", rig.pod(spec.worker));
      const { annotations, labels } = metadata;
      await rig.driver.stop(spec.worker, { keepWorkspace: false });
      await nothingIsLeft(rig);
      const name = `${rig.pod(spec.worker)}-again`;
      const copy = { apiVersion: "agents.x-k8s.io/v1beta1", kind: "Sandbox", spec: own };
      let changes = 0;
      rig.driver.onChange(() => {
        changes += 1;
      });
      kubectl(
        [here(), "create", "--filename=-"],
        JSON.stringify({ ...copy, metadata: { name, annotations, labels } }),
      );
      await eventually(() => changes > 0, { name: "change" });
      expect(await rig.driver.sweep(NOTHING_WANTED)).toEqual([`pod ${name}`]);
      await nothingIsLeft(rig);
    });

    it("refuse the pod that finds the identity of the one before it", async () => {
      await using rig = await open();
      const spec = workerSpec();
      const { name, uid } = await abandoned(rig, spec);
      // As a node leaves it that dies between a worker's start and the removal of its identity.
      const late = { apiVersion: "v1", kind: "Secret", metadata: { name } };
      const text = JSON.stringify({ ...late, stringData: { identity: "{}", pod: uid } });
      kubectl([here(), "create", "--filename=-"], text);
      try {
        removePod(name);
        await next(name, uid);
        await eventually(() => expect(seen("pod", name).status?.phase).toBe("Failed"), {
          name: "the second pod's refusal",
          within: 30_000,
        });
        expect(kubectl([here(), "logs", name, "--container=identity"])).toContain("another pod");
      } finally {
        kubectl([here(), "delete", "secret", name]);
      }
      const again = await rig.reopen();
      const exits: WorkerExit[] = [];
      again.watch((exit) => exits.push(exit));
      await eventually(() => expect(exits).toHaveLength(1), { name: "exit" });
      expect(exits[0]).toMatchObject({ worker: spec.worker, code: "worker.lost" });
      await nothingIsLeft(rig);
      expect(rig.node.hellos.size).toBe(0);
    });
  });

  describe("that nobody looks after", () => {
    it("end by themselves once their time is over, which a node's sweep puts off", async () => {
      await using rig = await open();
      const spec = workerSpec();
      await started(rig, spec);
      const name = rig.pod(spec.worker);
      const endOf = () => Date.parse(String(seen("sandbox", name).spec["shutdownTime"]));
      const inHours = (hours: number) => new Date(Date.now() + hours * HOUR_MS).toISOString();
      patch(name, { shutdownTime: inHours(1) });
      await rig.driver.sweep({ ...NOTHING_WANTED, workers: new Set([spec.worker]) });
      expect(endOf()).toBeGreaterThan(Date.now() + 23 * HOUR_MS);
      await rig.driver.dispose();
      patch(name, { shutdownTime: inHours(0) });
      await nothingIsLeft(rig);
      await rig.reopen();
    });

    it.skipIf(!isClusterOurs)(
      "say so when a start gets no pod, and are swept when they have none",
      async () => {
        await using rig = await open();
        const [kept, late] = [workerSpec(), workerSpec()];
        await started(rig, kept);
        const name = rig.pod(kept.worker);
        await rig.driver.dispose();
        await stage.withoutController(async () => {
          removePod(name);
          const again = await rig.reopen();
          await expect(again.start(late, rig.connection)).rejects.toMatchObject({
            code: "driver.failed",
            message: expect.stringMatching(/no pod within 10000 ms: does its controller run/),
          });
          expect(await again.list()).toEqual([]);
          expect(await again.sweep(NOTHING_WANTED)).toEqual([`sandbox ${name}`]);
          await nothingIsLeft(rig);
        });
      },
    );

    it("go with their pods, too, when nodes make pods directly again", async () => {
      await using rig = await open();
      const spec = workerSpec();
      await started(rig, spec);
      await rig.driver.dispose();
      const direct = await rig.open("n1", { BERTH_KUBERNETES_WORKERS: "pods" });
      expect(await direct.list()).toEqual([{ worker: spec.worker, spec }]);
      await direct.stop(spec.worker, { keepWorkspace: false });
      await nothingIsLeft(rig);
    });
  });

  describe("that cannot be made into pods", () => {
    const refused = async (rig: KubernetesRig, code: string, words: RegExp) => {
      await expect(rig.driver.start(workerSpec(), rig.connection)).rejects.toMatchObject({
        code,
        message: expect.stringMatching(words),
      });
      expect(await rig.driver.list()).toEqual([]);
      await nothingIsLeft(rig);
    };

    it.each([
      [{ BERTH_KUBERNETES_IMAGE: "berth-no-such-image" }, /ErrImageNeverPull/],
      [{ BERTH_KUBERNETES_RUNTIME_CLASS: "no-such-runtime" }, /no-such-runtime/],
    ])("fail with %j in seconds, in the cluster's words", async (environment, words) => {
      await using rig = await open(environment);
      const begun = performance.now();
      await refused(rig, "driver.failed", words);
      expect(performance.now() - begun).toBeLessThan(15_000);
    });

    it("say that there is no room where a quota is used up", async () => {
      const quota = { kind: "ResourceQuota", apiVersion: "v1", metadata: { name: "full" } };
      const text = JSON.stringify({ ...quota, spec: { hard: { pods: "0" } } });
      kubectl([here(), "apply", "--filename=-"], text);
      try {
        await using rig = await open();
        await eventually(() => refused(rig, "capacity.exhausted", /exceeded quota/), {
          name: "the quota holds",
          within: 30_000,
        });
      } finally {
        kubectl([here(), "delete", "resourcequota", "full"]);
      }
    });
  });
});
