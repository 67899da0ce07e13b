/** The whole life of the driver under the account that a node has, and the API server's own record of what it asked for. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import type { WorkerSpec } from "../../protocols/executor.ts";
import { NOTHING_WANTED } from "../support/docker-driver-rig.ts";
import { eventually } from "../support/eventually.ts";
import { type Broker, startBroker } from "../support/executor-rig.ts";
import { build, describeKustomize } from "../support/kubernetes/kustomize.ts";
import { type Manifest, nameOf } from "../support/kubernetes/manifest.ts";
import { areSandboxesThere } from "../support/kubernetes/sandbox-definition.ts";
import { sandboxes } from "../support/kubernetes/sandbox-stage.ts";
import { buildWith } from "../support/kubernetes/taken-in.ts";
import { AUDIT_LOG, isClusterOurs, kubectl, nodesKubeconfig } from "../support/kubernetes.ts";
import { type KubernetesRig, kubernetesDriverRig } from "../support/kubernetes-driver-rig.ts";

const NAMESPACE = "berth-execution";
const HERE = `--namespace=${NAMESPACE}`;
const ACCOUNT = "system:serviceaccount:berth-backend:berth-node";
const ROLE = `Role ${NAMESPACE}/berth-workers`;

const rulesSchema = z.array(
  z.object({
    apiGroups: z.array(z.string()),
    resources: z.array(z.string()),
    verbs: z.array(z.string()),
  }),
);
const auditSchema = z.object({
  user: z.object({ username: z.string().default("") }),
  verb: z.string(),
  objectRef: z
    .object({
      apiGroup: z.string().default(""),
      resource: z.string(),
      subresource: z.string().optional(),
      namespace: z.string().optional(),
    })
    .optional(),
  annotations: z.record(z.string(), z.string()).default({}),
});

/** Such as `create pods` or `list pods of metrics.k8s.io`. */
const permission = (verb: string, resource: string, group: string) =>
  `${verb} ${resource}${group === "" ? "" : ` of ${group}`}`;

function granted(manifests: readonly Manifest[]): string[] {
  const role = manifests.find((manifest) => nameOf(manifest) === ROLE);
  return rulesSchema
    .parse(role?.["rules"])
    .flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) => verbs.map((verb) => permission(verb, resource, group))),
      ),
    );
}

const auditLines = () => readFileSync(AUDIT_LOG, "utf8").trim().split("\n");

/** What the account has asked for since there were so many lines. */
function askedSince(line: number) {
  return auditLines()
    .slice(line)
    .map((text) => auditSchema.parse(JSON.parse(text)))
    .filter(({ user }) => user.username === ACCOUNT);
}

function may(...what: readonly string[]): string {
  try {
    return kubectl(["auth", "can-i", ...what, `--as=${ACCOUNT}`]).trim();
  } catch (thrown) {
    return String((thrown as { stdout?: string }).stdout).trim();
  }
}

const specOf = (overrides: Partial<WorkerSpec>): WorkerSpec => ({
  worker: `wrk-rbac-${overrides.network ?? "user"}`,
  tenant: "acme",
  tier: "pro",
  slots: 1,
  workspace: "user",
  workspace_key: "ann",
  cpus: 0.5,
  memory_bytes: 256 * 1024 ** 2,
  storage_bytes: 1024 ** 3,
  processes: 128,
  network: "user",
  internet: false,
  ...overrides,
});

/** All that a driver does, once at least. */
async function live(rig: KubernetesRig, whileItLives: (pod: string) => void): Promise<void> {
  const { connection, driver } = rig;
  const twin = await rig.open("n1");
  const spec = specOf({});
  await driver.start(spec, connection);
  // A start that is repeated by a process that does not know of the first finds its pod.
  await twin.start(spec, connection);
  await eventually(() => rig.hellos(spec.worker) > 0, { name: "hello", within: 20_000 });
  await driver.use();
  expect(await driver.log(spec.worker)).toContain("worker ready");
  whileItLives(rig.pod(spec.worker));
  await driver.sweep({ ...NOTHING_WANTED, workers: new Set([spec.worker]) });
  const fleet = specOf({ network: "tenant", workspace: "tenant", workspace_key: "acme-shell" });
  await driver.start(fleet, connection);
  await driver.stop(fleet.worker, { keepWorkspace: false });
  await driver.stop(spec.worker, { keepWorkspace: true });
  // A policy that somebody changed is set right, and that of a fleet that is gone goes.
  const selector = `--selector=berth.deployment=${rig.deployment}`;
  const policies = kubectl([HERE, "get", "networkpolicies", selector, "--output=name"]);
  const [name = ""] = policies.split("\n");
  kubectl([HERE, "patch", name, "--type=merge", "--patch", '{"spec":{"egress":[{}]}}']);
  await driver.sweep(NOTHING_WANTED);
  expect(kubectl([HERE, "get", name, "--output=yaml"])).not.toContain("- {}");
  await twin.dispose();
}

describeKustomize("the role of a node", () => {
  let broker: Broker;
  const places = async () =>
    (await build("kubernetes/base")).filter(({ kind }) =>
      ["Namespace", "ServiceAccount"].includes(kind),
    );
  const list = (items: readonly Manifest[]) =>
    JSON.stringify({ apiVersion: "v1", kind: "List", items });
  beforeAll(async () => {
    broker = await startBroker();
    kubectl(["apply", "--filename=-"], list(await places()));
    const account = () => kubectl([HERE, "get", "serviceaccount", "default"]);
    await eventually(() => account() !== "", { name: "account", within: 30_000 });
  });
  afterAll(async () => {
    kubectl(["delete", "--wait=false", "--filename=-"], list(await places()));
    await broker[Symbol.asyncDispose]();
  });

  const used = async (
    manifests: readonly Manifest[],
    environment: Readonly<Record<string, string>>,
    whileItLives: (pod: string) => void,
  ) => {
    const roles = manifests.filter(
      ({ kind, metadata }) =>
        ["Role", "RoleBinding"].includes(kind) && metadata.namespace === NAMESPACE,
    );
    // A server that is as old as the tests' merges no role of another's.
    kubectl(["apply", "--filename=-"], list(roles));
    const { path, remove } = nodesKubeconfig("berth-backend", "berth-node");
    const line = auditLines().length;
    try {
      await using rig = await kubernetesDriverRig(broker, {
        namespace: NAMESPACE,
        environment: { KUBECONFIG: path, ...environment },
      });
      await live(rig, whileItLives);
    } finally {
      remove();
    }
    const events = askedSince(line);
    const denied = events.filter(
      ({ annotations }) => annotations["authorization.k8s.io/decision"] !== "allow",
    );
    expect(denied).toEqual([]);
    const elsewhere = events.filter(({ objectRef }) => objectRef?.namespace !== NAMESPACE);
    expect(elsewhere).toEqual([]);
    const permissions = events.flatMap(({ objectRef, verb }) => {
      if (objectRef === undefined) return [];
      const { apiGroup, resource, subresource } = objectRef;
      const whole = subresource === undefined ? resource : `${resource}/${subresource}`;
      return [permission(verb, whole, apiGroup)];
    });
    return [...new Set(permissions)].toSorted();
  };

  it.skipIf(!isClusterOurs)(
    "is enough for all that the driver does, and holds nothing that it does not use",
    async () => {
      const manifests = await build("kubernetes/base");
      expect(await used(manifests, {}, () => {})).toEqual(granted(manifests).toSorted());
    },
  );

  it("leads nowhere else: no Secret can be read, no command run, no other namespace seen", () => {
    expect(may("create", "pods", HERE)).toBe("yes");
    for (const what of [
      ["get", "secrets", HERE],
      ["list", "secrets", HERE],
      ["create", "pods", "--subresource=exec", HERE],
      ["create", "pods", "--subresource=attach", HERE],
      ["patch", "pods", HERE],
      ["create", "pods", "--namespace=berth-backend"],
      ["list", "pods", "--namespace=berth-backend"],
      ["get", "nodes"],
      ["get", "nodes", "--subresource=proxy"],
      ["list", "namespaces"],
    ])
      expect([what, may(...what)]).toEqual([what, "no"]);
  });

  describe("where workers are sandboxes", () => {
    sandboxes(() => NAMESPACE);
    const environment = { BERTH_KUBERNETES_WORKERS: "sandboxes" };

    it.skipIf(!isClusterOurs)(
      "has what the driver needs for them, no more, and makes no pods itself",
      async () => {
        expect(areSandboxesThere()).toBe(true);
        const manifests = await buildWith("sandbox-workers", "development");
        const soon = new Date(Date.now() + 60_000).toISOString();
        const spec = JSON.stringify({ spec: { shutdownTime: soon } });
        // So near to its end that a sweep puts it off.
        const near = (pod: string) =>
          void kubectl([HERE, "patch", "sandbox", pod, "--type=merge", "--patch", spec]);
        expect(await used(manifests, environment, near)).toEqual(granted(manifests).toSorted());
        expect(may("create", "pods", HERE)).toBe("no");
        expect(may("create", "sandboxes", HERE)).toBe("yes");
      },
    );
  });
});
