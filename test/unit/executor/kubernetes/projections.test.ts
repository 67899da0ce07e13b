import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import type { Cluster } from "../../../../executor/drivers/kubernetes/cluster.ts";
import { podManifest } from "../../../../executor/drivers/kubernetes/pod-manifest.ts";
import { Usage } from "../../../../executor/drivers/kubernetes/usage.ts";
import { workerPolicies } from "../../../../executor/drivers/kubernetes/worker-policies.ts";
import { ISOLATION_POLICY } from "../../../../protocols/isolation-policy.ts";
import { ROOT } from "../../../support/source.ts";
import { workerSpec } from "../../../support/worker-specs.ts";

const owner = { deployment: "demo", node: "n1" };
const brokers = [{ host: "nats.backend.svc", port: 4222 }];
const egress = { host: "10.96.0.9", port: 14_223 };

describe("network policies of workers", () => {
  const of = (policy = ISOLATION_POLICY, fleets: readonly string[] = []) =>
    new Map(
      workerPolicies(policy, owner, { brokers, egress }, fleets).map((one) => [
        one.metadata.name,
        one.spec,
      ]),
    );

  it("let a worker reach the broker by its label and the proxy by its address, and nobody in", () => {
    expect(of().get("berth-demo-worker")).toEqual({
      podSelector: { matchLabels: { "berth.deployment": "demo", "berth.part": "worker" } },
      policyTypes: ["Ingress", "Egress"],
      ingress: [],
      egress: [
        {
          to: [{ namespaceSelector: {}, podSelector: { matchLabels: { "berth.part": "broker" } } }],
          ports: [{ protocol: "TCP", port: 4222 }],
        },
        {
          to: [{ ipBlock: { cidr: "10.96.0.9/32" } }],
          ports: [{ protocol: "TCP", port: 14_223 }],
        },
      ],
    });
  });

  it("find a proxy that has a name in the nodes' pods, as the tree labels them", () => {
    const named = { host: "egress.berth-backend.svc", port: 14_223 };
    const [worker] = workerPolicies(ISOLATION_POLICY, owner, { brokers, egress: named }).filter(
      ({ metadata }) => metadata.name === "berth-demo-worker",
    );
    const parts = (worker?.spec.egress ?? []).flatMap(({ to = [] }) =>
      to.map(({ podSelector }) => podSelector?.matchLabels?.["berth.part"]),
    );
    expect(parts).toEqual(["broker", "node"]);
    for (const [file, part] of [
      ["nats", "broker"],
      ["node", "node"],
    ]) {
      const path = join(
        ROOT,
        "deploy",
        "kubernetes",
        "components",
        file ?? "",
        "stateful-set.yaml",
      );
      const { spec } = parse(readFileSync(path, "utf8"));
      expect(spec.template.metadata.labels["berth.part"]).toBe(part);
    }
  });

  it("let nothing through that the isolation policy does not grant", () => {
    const shut = ISOLATION_POLICY.filter(
      ({ action, principal }) => !(principal === "container" && action === "connect"),
    );
    expect(of(shut, ["acme"]).get("berth-demo-worker")?.egress).toEqual([]);
    expect([...of(shut, ["acme"]).keys()].filter((name) => name.includes("fleet"))).toEqual([]);
  });

  it("let the workers of one fleet talk to each other, and to no other tenant's", () => {
    const fleet = of(ISOLATION_POLICY, ["acme"]).get("berth-demo-fleet-acme");
    const own = {
      matchLabels: expect.objectContaining({ "berth.tenant": "acme", "berth.fleet": "true" }),
    };
    expect(fleet?.podSelector).toEqual(own);
    expect(fleet?.egress).toEqual([{ to: [{ podSelector: own }] }]);
  });

  it("keep private addresses from tiers that lead out directly", () => {
    const [rule] = of().get("berth-demo-internet")?.egress ?? [];
    expect(JSON.stringify(rule)).toMatch(/10\.0\.0\.0\/8.*169\.254\.0\.0\/16.*192\.168\.0\.0\/16/);
  });
});

describe("a worker's pod as it is asked for", () => {
  const settings = {
    image: "berth-executor",
    pullPolicy: "IfNotPresent",
    pullSecrets: ["registry"],
    runtimeClass: "gvisor",
    priorityClass: "berth-workers",
    requests: 0.5,
    env: {},
    graceMs: 1_500,
  } as const;
  const plan = { owner, spec: workerSpec(), claim: undefined, hosts: [], settings };

  it("takes the runtime, the priority, the registry's secrets and the grace from the settings", () => {
    expect(podManifest(plan).spec).toMatchObject({
      runtimeClassName: "gvisor",
      priorityClassName: "berth-workers",
      imagePullSecrets: [{ name: "registry" }],
      terminationGracePeriodSeconds: 2,
      restartPolicy: "Never",
    });
    const plain = { ...settings, runtimeClass: undefined, priorityClass: undefined };
    const { spec } = podManifest({ ...plan, settings: plain });
    expect(spec).not.toHaveProperty("runtimeClassName");
    expect(spec).not.toHaveProperty("priorityClassName");
  });

  it("mounts a claim for a kept workspace, and storage with a limit for another", () => {
    const volume = (made: ReturnType<typeof podManifest>) =>
      made.spec?.volumes?.find(({ name }) => name === "workspace");
    expect(volume(podManifest(plan))).toMatchObject({ emptyDir: { sizeLimit: "67108864" } });
    const kept = { ...plan, spec: workerSpec({ workspace: "user" }), claim: "berth-ws" };
    expect(volume(podManifest(kept))).toMatchObject({
      persistentVolumeClaim: { claimName: "berth-ws" },
    });
  });

  it("is put beside those with whom it shares a workspace, which one machine alone mounts", () => {
    const spec = workerSpec({ workspace: "tenant", workspace_key: "shell", network: "tenant" });
    const made = podManifest({ ...plan, spec, claim: "berth-ws" });
    const [term] =
      made.spec?.affinity?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
    expect(term?.topologyKey).toBe("kubernetes.io/hostname");
    // The first of them is one of those whom it looks for itself: so it may run anywhere.
    expect(made.metadata.labels).toMatchObject(term?.labelSelector?.matchLabels ?? { none: "" });
    expect(term?.labelSelector?.matchLabels).toMatchObject({
      "berth.tenant": "acme",
      "berth.workspace": "shell",
    });
    expect(podManifest(plan).spec?.affinity).toBeUndefined();
  });

  it("says no secret in a variable, and asks a name server only where its tier leads out", () => {
    const text = JSON.stringify(podManifest(plan));
    expect(text).not.toMatch(/nats:\/\/|jwt|seed/);
    expect(podManifest(plan).spec?.dnsPolicy).toBe("None");
    const out = podManifest({ ...plan, spec: workerSpec({ internet: true }) });
    expect(out.spec?.dnsPolicy).toBe("Default");
  });
});

describe("what pods use", () => {
  const live = [{ pod: "berth-demo-w", worker: "w", memoryLimitBytes: 512 }];
  const usageOf = (answers: readonly (string | undefined)[]) => {
    const left = [...answers];
    const cluster = { metrics: () => Promise.resolve(left.shift()) } as unknown as Cluster;
    return new Usage({ cluster, selector: "", image: "berth-executor" });
  };
  const answer = (second: number, cpu: string) =>
    JSON.stringify({
      items: [
        {
          metadata: { name: "berth-demo-w" },
          timestamp: `2026-01-01T00:00:${String(second).padStart(2, "0")}Z`,
          containers: [{ name: "worker", usage: { cpu, memory: "20Mi" } }],
        },
        { metadata: { name: "another" }, timestamp: "2026-01-01T00:00:00Z", containers: [] },
      ],
    });

  it("is a sum of processor time, made of the rates between readings, each counted once", async () => {
    const texts = [answer(0, "500m"), answer(10, "500m"), answer(10, "500m"), answer(20, "1")];
    const usage = usageOf(texts);
    const sums: number[] = [];
    for (const _ of texts) sums.push((await usage.of(live)).get("w")?.cpu_ms ?? -1);
    expect(sums).toEqual([0, 5_000, 5_000, 15_000]);
    expect((await usageOf([answer(0, "1")]).of(live)).get("w")).toEqual({
      image: "berth-executor",
      cpu_ms: 0,
      memory_bytes: 20 * 1024 ** 2,
      memory_limit_bytes: 512,
      processes: null,
    });
  });

  it("is not known where the cluster has no metrics server", async () => {
    expect((await usageOf([undefined]).of(live)).size).toBe(0);
  });
});
