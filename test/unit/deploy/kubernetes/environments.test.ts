import { describe, expect, it } from "vitest";
import { loadConfig } from "../../../../deploy/config.ts";
import { build, describeKustomize } from "../../../support/kubernetes/kustomize.ts";
import {
  isServer,
  type Manifest,
  nameOf,
  type Workload,
  workloadsOf,
} from "../../../support/kubernetes/manifest.ts";
import { podFaults } from "../../../support/kubernetes/pod-faults.ts";
import { policyFaults } from "../../../support/kubernetes/policy-faults.ts";
import { environmentOf, referenceFaults } from "../../../support/kubernetes/reference-faults.ts";
import { schemaFaults, unknownFields } from "../../../support/kubernetes/schemas.ts";

const ENVIRONMENTS = ["development", "staging", "production"];
const environment = (name: string) => build(`kubernetes/environments/${name}`);
const workload = (manifests: readonly Manifest[], name: string): Workload =>
  workloadsOf(manifests).find(({ manifest }) => manifest.metadata.name === name)!;
/** Seconds after which a container counts as not started. */
function allowance(probe: unknown): number {
  const { failureThreshold, periodSeconds } = probe as Record<string, number>;
  return (failureThreshold ?? 3) * (periodSeconds ?? 10);
}

describeKustomize("the Kubernetes tree", () => {
  describe.each(ENVIRONMENTS)("%s", (name) => {
    it("holds all parts, each in the namespace of its layer", async () => {
      const names = (await environment(name)).map(nameOf);
      for (const layer of ["frontend", "backend", "execution", "monitoring"]) {
        expect(names).toContain(`Namespace berth-${layer}`);
        expect(names).toContain(`NetworkPolicy berth-${layer}/default-deny`);
        expect(names).toContain(`LimitRange berth-${layer}/berth-${layer}`);
      }
      for (const part of ["StatefulSet berth-backend/nats", "StatefulSet berth-backend/node"])
        expect(names).toContain(part);
      expect(names).toContain("Deployment berth-frontend/gateway");
      expect(new Set(names).size).toBe(names.length);
    });

    it("is of the types that Kubernetes' schemas say, and has no field that there is not", async () => {
      const manifests = await environment(name);
      expect(await schemaFaults(manifests)).toEqual([]);
      expect(await unknownFields(manifests)).toEqual([]);
    });

    it("has pods that are hardened, limited, probed, pinned, and leave in order", async () => {
      expect(workloadsOf(await environment(name)).flatMap(podFaults)).toEqual([]);
    });

    it("names nothing that is not there, and sets no variable that nothing reads", async () => {
      expect(referenceFaults(await environment(name))).toEqual([]);
    });

    it("opens ports on which somebody listens, and no others", async () => {
      expect(policyFaults(await environment(name))).toEqual([]);
    });

    it("configures nodes and gateways with values that they take", async () => {
      const manifests = await environment(name);
      for (const part of ["node", "gateway"]) {
        // What a Secret or the pod itself says is not in the tree.
        const values = environmentOf(manifests, workload(manifests, part));
        const config = loadConfig({ ...values, BERTH_NODE_ID: "node-0" });
        expect(config.unknown).toEqual([]);
        const isNode = part === "node";
        expect(config.BERTH_DRIVER).toBe(isNode ? "kubernetes" : "auto");
        if (isNode) expect(config.BERTH_KUBERNETES_IMAGE).toMatch(/berth-executor:[\d.]+$/);
        expect(config.BERTH_REPLICAS).toBe(name === "development" ? 1 : 3);
      }
    });
  });

  it.each(ENVIRONMENTS)("%s lets no worker end itself while its node is replaced", async (name) => {
    const manifests = await environment(name);
    const node = workload(manifests, "node");
    const config = loadConfig(environmentOf(manifests, node));
    const { replicas } = node.manifest["spec"] as { readonly replicas: number };
    const { terminationGracePeriodSeconds: ends = 30 } = node.pod.spec;
    const starts = allowance(node.pod.spec.containers[0]?.["startupProbe"]);
    // Beside others it may be away for longer: they ask for its workers' jobs, see executor/executor.ts.
    const silentMs = replicas > 1 ? 2 * config.BERTH_SWEEP_EVERY : (ends + starts) * 1_000;
    expect(config.BERTH_ORPHAN_AFTER).toBeGreaterThanOrEqual(silentMs);
  });

  it.each(ENVIRONMENTS)(
    "%s has a class for each part that ranks it, above workers",
    async (name) => {
      const manifests = await environment(name);
      const classNamed = (wanted: string | undefined) =>
        manifests.find(
          ({ kind, metadata }) => kind === "PriorityClass" && metadata.name === wanted,
        );
      const { BERTH_KUBERNETES_PRIORITY_CLASS: workers } = environmentOf(
        manifests,
        workload(manifests, "node"),
      );
      const ofPart = (part: string) => workload(manifests, part).pod.spec.priorityClassName;
      const ranks = [ofPart("nats"), ofPart("node"), ofPart("gateway"), workers].map(classNamed);
      const values = ranks.map((rank) => Number(rank?.["value"]));
      expect(values).toEqual([...new Set(values)].toSorted((a, b) => b - a));
      // Above what has no class.
      expect(values.at(-1)).toBeGreaterThan(0);
      // Neither an update's one gateway more nor a worker ends another's job for its place.
      expect(ranks.map((rank) => rank?.["preemptionPolicy"])).toEqual([
        undefined,
        undefined,
        "Never",
        "Never",
      ]);
    },
  );

  it("keeps three copies of what was accepted, on three machines, on disks that outlive their claim", async () => {
    const manifests = await environment("production");
    const { manifest } = workload(manifests, "nats");
    expect(manifest).toMatchObject({
      spec: {
        replicas: 3,
        volumeClaimTemplates: [
          { spec: { accessModes: ["ReadWriteOnce"], storageClassName: "fast-retain" } },
        ],
      },
    });
    const kept = manifests.find(({ metadata }) => metadata.name === "fast-retain");
    expect(kept).toMatchObject({ kind: "StorageClass", reclaimPolicy: "Retain" });
    expect(JSON.stringify(manifest)).toContain('"topologyKey":"kubernetes.io/hostname"');
  });

  it("gives workers' claims a class of disks that there is, and their pods the bounds of a quota", async () => {
    const manifests = await environment("production");
    const { BERTH_KUBERNETES_STORAGE_CLASS } = environmentOf(
      manifests,
      workload(manifests, "node"),
    );
    const names = manifests.map(nameOf);
    expect(names).toContain(`StorageClass ${BERTH_KUBERNETES_STORAGE_CLASS}`);
    expect(names).toContain("ResourceQuota berth-execution/workers");
  });

  it("is known to the policies that nodes make for workers by its labels", async () => {
    const parts = workloadsOf(await environment("production"))
      .filter(isServer)
      .map(({ pod }) => pod.metadata.labels["berth.part"]);
    expect(new Set(parts)).toEqual(new Set(["broker", "gateway", "node"]));
  });

  it("keeps a verified copy of each night, by a pod that has one credential and no key", async () => {
    const manifests = await environment("production");
    const { manifest, pod } = workload(manifests, "backup");
    expect(manifest).toMatchObject({
      kind: "CronJob",
      spec: { concurrencyPolicy: "Forbid", jobTemplate: { spec: { activeDeadlineSeconds: 3600 } } },
    });
    const script = JSON.stringify(pod.spec.containers[0]?.args);
    expect(script).toMatch(/berth backup create .*berth backup verify /);
    const secrets = pod.spec.volumes.filter((volume) => "secret" in volume);
    expect(secrets).toMatchObject([
      { secret: { secretName: "nats-auth", items: [{ key: "platform.creds" }] } },
    ]);
  });

  it("gives workers one way out: the proxy, by a Service at which every node answers", async () => {
    const manifests = await environment("production");
    const { BERTH_EGRESS_URL } = environmentOf(manifests, workload(manifests, "node"));
    const { hostname, port } = new URL(BERTH_EGRESS_URL!);
    const [service, namespace] = hostname.split(".");
    const found = manifests.find((one) => nameOf(one) === `Service ${namespace}/${service}`);
    expect(found).toMatchObject({
      spec: { ports: [{ port: Number(port), targetPort: "egress" }] },
    });
  });

  it("grants a node what it needs in the workers' namespace, and in no other", async () => {
    const manifests = await environment("production");
    const rights = manifests.filter(({ apiVersion }) => apiVersion.startsWith("rbac."));
    expect(rights.map(nameOf).toSorted((a, b) => (a < b ? -1 : 1))).toEqual([
      "Role berth-execution/berth-workers",
      "RoleBinding berth-execution/berth-workers",
    ]);
    const { serviceAccountName } = workload(manifests, "node").pod.spec;
    expect(rights.find(({ kind }) => kind === "RoleBinding")).toMatchObject({
      subjects: [{ name: serviceAccountName, namespace: "berth-backend" }],
    });
  });

  it("lets a node alone speak to the cluster's API", async () => {
    const holders = workloadsOf(await environment("production"))
      .filter(({ pod }) => pod.spec.automountServiceAccountToken !== false)
      .map(({ manifest }) => manifest.metadata.name);
    expect(holders).toEqual(["node"]);
  });

  it("speaks TLS to the broker wherever people's work is", async () => {
    for (const name of ["staging", "production"]) {
      const manifests = await environment(name);
      for (const part of ["node", "gateway"]) {
        const { BERTH_NATS_TLS_CA } = environmentOf(manifests, workload(manifests, part));
        expect(BERTH_NATS_TLS_CA).toBe("/etc/berth/nats-ca/ca.crt");
      }
      const config = manifests.find(({ metadata }) => metadata.name.startsWith("nats-config"));
      expect(JSON.stringify(config?.["data"])).toContain("verify: true");
    }
  });
});
