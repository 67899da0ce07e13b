/** Each check of the tree can fail: one thing is changed in what kustomize makes, and the check says which. */
import { expect, it } from "vitest";
import { type Break, breakIn } from "../../../support/kubernetes/broken.ts";
import { build, describeKustomize } from "../../../support/kubernetes/kustomize.ts";
import { type Manifest, workloadsOf } from "../../../support/kubernetes/manifest.ts";
import { podFaults } from "../../../support/kubernetes/pod-faults.ts";
import { policyFaults } from "../../../support/kubernetes/policy-faults.ts";
import { referenceFaults } from "../../../support/kubernetes/reference-faults.ts";
import { schemaFaults, unknownFields } from "../../../support/kubernetes/schemas.ts";

const NATS = "StatefulSet berth-backend/nats";
const NODE = "StatefulSet berth-backend/node";
const GATEWAY = "Deployment berth-frontend/gateway";
const POD = "spec/template/spec";
const CONTAINER = `${POD}/containers/0`;

async function broken(...changes: readonly Break[]): Promise<Manifest[]> {
  const manifests = await build("kubernetes/environments/production");
  for (const change of changes) breakIn(manifests, change);
  return manifests;
}

const change = (object: string, path: string, value?: unknown): Break => ({ object, path, value });

describeKustomize("the judge of pods", () => {
  it.each<[string, Break]>([
    ["may run as root", change(NODE, `${POD}/securityContext/runAsNonRoot`)],
    ["may run as root", change(NODE, `${POD}/securityContext/runAsUser`, 0)],
    ["has no seccomp profile", change(NATS, `${POD}/securityContext/seccompProfile`)],
    ["shares a namespace of its host", change(GATEWAY, `${POD}/hostNetwork`, true)],
    ["mounts a folder of its host", change(NODE, `${POD}/volumes/-`, { name: "x", hostPath: {} })],
    ["has no priority", change(NODE, `${POD}/priorityClassName`)],
    [
      "node can write its root",
      change(NODE, `${CONTAINER}/securityContext/readOnlyRootFilesystem`),
    ],
    [
      "nats may gain privileges",
      change(NATS, `${CONTAINER}/securityContext/allowPrivilegeEscalation`),
    ],
    ["nats is privileged", change(NATS, `${CONTAINER}/securityContext/privileged`, true)],
    [
      "gateway keeps capabilities",
      change(GATEWAY, `${CONTAINER}/securityContext/capabilities/drop`),
    ],
    [
      "gateway is given capabilities",
      change(GATEWAY, `${CONTAINER}/securityContext/capabilities/add`, ["NET_RAW"]),
    ],
    ["node has no limits of memory", change(NODE, `${CONTAINER}/resources/limits/memory`)],
    ["node has no requests of cpu", change(NODE, `${CONTAINER}/resources/requests/cpu`)],
    ["gateway has no version of its image", change(GATEWAY, `${CONTAINER}/image`, "a/b:latest")],
    ["nats has no version of its image", change(NATS, `${CONTAINER}/image`, "host:5000/nats")],
    ["node has no readinessProbe", change(NODE, `${CONTAINER}/readinessProbe`)],
    ["gateway has no livenessProbe", change(GATEWAY, `${CONTAINER}/livenessProbe`)],
    [
      "gateway: its livenessProbe asks at a port that it has not",
      change(GATEWAY, `${CONTAINER}/livenessProbe/httpGet/port`, 8080),
    ],
    ["gateway has no preStop", change(GATEWAY, `${CONTAINER}/lifecycle`)],
    [
      "node is killed before it has drained",
      change(NODE, `${POD}/terminationGracePeriodSeconds`, 35),
    ],
    ["node is killed before it has drained", change(NODE, `${POD}/terminationGracePeriodSeconds`)],
  ])("finds one that %s", async (fault, one) => {
    const faults = workloadsOf(await broken(one)).flatMap(podFaults);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toContain(fault);
  });

  it("looks into pods that come by the clock too", async () => {
    const container = "spec/jobTemplate/spec/template/spec/containers/0";
    const job = "CronJob berth-backend/backup";
    const manifests = await broken(
      change(job, `${container}/image`, "a/b:latest"),
      change(job, `${container}/securityContext/readOnlyRootFilesystem`),
    );
    expect(workloadsOf(manifests).flatMap(podFaults)).toEqual([
      `${job}: backup can write its root`,
      `${job}: backup has no version of its image: a/b:latest`,
    ]);
  });

  it("finds one that holds a token of the API for nothing", async () => {
    const manifests = await broken(
      change(GATEWAY, `${POD}/serviceAccountName`),
      change(GATEWAY, `${POD}/automountServiceAccountToken`),
    );
    expect(workloadsOf(manifests).flatMap(podFaults)).toEqual([
      `${GATEWAY}: has a token of the API and no account of its own`,
    ]);
  });
});

describeKustomize("the judge of names", () => {
  const budget = "PodDisruptionBudget berth-backend/node";
  const scaler = "HorizontalPodAutoscaler berth-backend/node";
  it.each<[string, Break]>([
    [
      "its selector does not match its own pods",
      change(GATEWAY, "spec/template/metadata/labels/track", "other"),
    ],
    [
      "nothing is behind it",
      change("Service berth-backend/egress", "spec/selector", { app: "none" }),
    ],
    [
      "no container has the port 80",
      change("Service berth-frontend/gateway", "spec/ports/0/targetPort", 80),
    ],
    ["it guards nothing", change(budget, "spec/selector/matchLabels", { app: "none" })],
    ["what it scales is not there", change(scaler, "spec/scaleTargetRef/kind", "Deployment")],
    [
      "there is no ConfigMap other",
      change(NODE, `${CONTAINER}/envFrom/0/configMapRef/name`, "other"),
    ],
    ["there is no Secret vaults", change(NODE, `${POD}/volumes/3/secret/secretName`, "vaults")],
    ["there is no ServiceAccount default", change(NATS, `${POD}/serviceAccountName`, "default")],
    ["there is no PriorityClass high", change(NATS, `${POD}/priorityClassName`, "high")],
    [
      "there is no PersistentVolumeClaim other",
      change(
        "CronJob berth-backend/backup",
        "spec/jobTemplate/spec/template/spec/volumes/0/persistentVolumeClaim/claimName",
        "other",
      ),
    ],
    ["there is no volume cache", change(NATS, `${CONTAINER}/volumeMounts/-`, { name: "cache" })],
    [
      "nothing reads FEATURE_FLAGS",
      change(NODE, `${CONTAINER}/env/-`, { name: "FEATURE_FLAGS", value: "{}" }),
    ],
  ])("finds that %s", async (fault, one) => {
    expect(referenceFaults(await broken(one)).join("\n")).toContain(fault);
  });
});

describeKustomize("the judge of network policies", () => {
  it.each<[string, Break]>([
    [
      "nobody listens on 9999",
      change("NetworkPolicy berth-frontend/gateway", "spec/ingress/0/ports/0/port", 9999),
    ],
    [
      "leads to 4223, where nobody listens",
      change("NetworkPolicy berth-execution/worker", "spec/egress/0/ports/0/port", 4223),
    ],
    ["leads to nobody", change("Namespace berth-backend", "metadata/labels/name", "other")],
  ])("finds that %s", async (fault, one) => {
    expect(policyFaults(await broken(one)).join("\n")).toContain(fault);
  });
});

describeKustomize("the judge of schemas", () => {
  it("finds a value of another type, and an API that there is not", async () => {
    const manifests = await broken(
      change(NATS, "spec/replicas", "three"),
      change("PodDisruptionBudget berth-backend/node", "apiVersion", "policy/v2"),
    );
    const faults = (await schemaFaults(manifests)).join("\n");
    expect(faults).toMatch(/nats: .*replicas must be integer/);
    expect(faults).toContain("no API is called policy/v2");
    expect(faults.split("\n")).toHaveLength(2);
  });

  it("finds a field that there is not", async () => {
    const manifests = await broken(change(GATEWAY, `${CONTAINER}/imagePolicy`, "Always"));
    expect((await unknownFields(manifests)).join("\n")).toMatch(/gateway: .*imagePolicy/);
  });
});
