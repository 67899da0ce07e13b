/** The whole life of the driver under the account that a node has, and the API server's own record of what it asked for. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import type { WorkerSpec } from "../../protocols/executor.ts";
import { NOTHING_WANTED } from "../support/docker-driver-rig.ts";
import { eventually } from "../support/eventually.ts";
import { type Broker, startBroker } from "../support/executor-rig.ts";
import { AUDIT_LOG, isClusterOurs, kubectl, nodesKubeconfig } from "../support/kubernetes.ts";
import { kubernetesDriverRig } from "../support/kubernetes-driver-rig.ts";

const BASE = new URL("../../deploy/kubernetes/base/", import.meta.url).pathname;
const NAMESPACE = "berth-execution";
const ACCOUNT = "system:serviceaccount:berth-backend:berth-node";

const roleSchema = z.object({
  kind: z.literal("Role"),
  rules: z.array(
    z.object({
      apiGroups: z.array(z.string()),
      resources: z.array(z.string()),
      verbs: z.array(z.string()),
    }),
  ),
});
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

function granted(): string[] {
  const documents = parseAllDocuments(readFileSync(join(BASE, "worker-rbac.yaml"), "utf8"));
  const role = documents.map((document) => roleSchema.safeParse(document.toJS()).data);
  return role
    .flatMap((found) => found?.rules ?? [])
    .flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) => verbs.map((verb) => permission(verb, resource, group))),
      ),
    );
}

function asked() {
  const lines = readFileSync(AUDIT_LOG, "utf8").trim().split("\n");
  return lines
    .map((line) => auditSchema.parse(JSON.parse(line)))
    .filter(({ user }) => user.username === ACCOUNT);
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

describe("the role of a node", () => {
  let broker: Broker;
  beforeAll(async () => {
    broker = await startBroker();
    for (const file of ["namespaces", "service-accounts", "worker-rbac"])
      kubectl(["apply", "--filename", join(BASE, `${file}.yaml`)]);
    const account = () => kubectl(["--namespace", NAMESPACE, "get", "serviceaccount", "default"]);
    await eventually(() => account() !== "", { name: "account", within: 30_000 });
  });
  afterAll(async () => {
    for (const file of ["worker-rbac", "service-accounts", "namespaces"])
      kubectl(["delete", "--wait=false", "--filename", join(BASE, `${file}.yaml`)]);
    await broker[Symbol.asyncDispose]();
  });

  it.skipIf(!isClusterOurs)(
    "is enough for all that the driver does, and holds nothing that it does not use",
    async () => {
      const { path, remove } = nodesKubeconfig("berth-backend", "berth-node");
      try {
        await using rig = await kubernetesDriverRig(broker, {
          namespace: NAMESPACE,
          environment: { KUBECONFIG: path },
        });
        const { connection, driver } = rig;
        const twin = await rig.open("n1");
        const spec = specOf({});
        await driver.start(spec, connection);
        // A start that is repeated by a process that does not know of the first finds its pod.
        await twin.start(spec, connection);
        await eventually(() => rig.hellos(spec.worker) > 0, { name: "hello", within: 20_000 });
        await driver.use();
        expect(await driver.log(spec.worker)).toContain("worker ready");
        const fleet = specOf({
          network: "tenant",
          workspace: "tenant",
          workspace_key: "acme-shell",
        });
        await driver.start(fleet, connection);
        await driver.stop(fleet.worker, { keepWorkspace: false });
        await driver.stop(spec.worker, { keepWorkspace: true });
        // A policy that somebody changed is set right, and that of a fleet that is gone goes.
        const policies = ["--namespace", NAMESPACE, "networkpolicies"];
        const [namespace, of, kind] = policies as [string, string, string];
        const selector = `--selector=berth.deployment=${rig.deployment}`;
        const [name = ""] = kubectl([namespace, of, "get", kind, selector, "--output=name"]).split(
          "\n",
        );
        kubectl([
          namespace,
          of,
          "patch",
          name,
          "--type=merge",
          "--patch",
          '{"spec":{"egress":[{}]}}',
        ]);
        await driver.sweep(NOTHING_WANTED);
        expect(kubectl([namespace, of, "get", name, "--output=yaml"])).not.toContain("- {}");
        await twin.dispose();
      } finally {
        remove();
      }
      const events = asked();
      const denied = events.filter(
        ({ annotations }) => annotations["authorization.k8s.io/decision"] !== "allow",
      );
      expect(denied).toEqual([]);
      const used = events.flatMap(({ objectRef, verb }) => {
        if (objectRef === undefined) return [];
        const { apiGroup, resource, subresource } = objectRef;
        const whole = subresource === undefined ? resource : `${resource}/${subresource}`;
        return [permission(verb, whole, apiGroup)];
      });
      expect([...new Set(used)].toSorted()).toEqual(granted().toSorted());
      const elsewhere = events.filter(({ objectRef }) => objectRef?.namespace !== NAMESPACE);
      expect(elsewhere).toEqual([]);
    },
  );

  it("leads nowhere else: no Secret can be read, no command run, no other namespace seen", () => {
    const may = (...what: readonly string[]) => {
      try {
        return kubectl(["auth", "can-i", ...what, `--as=${ACCOUNT}`]).trim();
      } catch (thrown) {
        return String((thrown as { stdout?: string }).stdout).trim();
      }
    };
    const here = `--namespace=${NAMESPACE}`;
    expect(may("create", "pods", here)).toBe("yes");
    for (const what of [
      ["get", "secrets", here],
      ["list", "secrets", here],
      ["create", "pods", "--subresource=exec", here],
      ["create", "pods", "--subresource=attach", here],
      ["patch", "pods", here],
      ["create", "pods", "--namespace=berth-backend"],
      ["list", "pods", "--namespace=berth-backend"],
      ["get", "nodes"],
      ["get", "nodes", "--subresource=proxy"],
      ["list", "namespaces"],
    ])
      expect([what, may(...what)]).toEqual([what, "no"]);
  });
});
