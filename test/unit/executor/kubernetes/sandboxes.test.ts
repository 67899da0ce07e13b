import { describe, expect, it } from "vitest";
import { decideMade } from "../../../../executor/drivers/kubernetes/decide-made.ts";
import { readPod } from "../../../../executor/drivers/kubernetes/pod.ts";
import {
  identitySecret,
  type PodPlan,
  podManifest,
} from "../../../../executor/drivers/kubernetes/pod-manifest.ts";
import { sandboxManifest } from "../../../../executor/drivers/kubernetes/sandbox-pods.ts";
import { type RawSandbox, readSandbox } from "../../../../executor/drivers/kubernetes/sandboxes.ts";
import { workerSpec } from "../../../support/worker-specs.ts";

const END = "2026-01-02T00:00:00.000Z";
const plan: PodPlan = {
  owner: { deployment: "demo", node: "n1" },
  spec: workerSpec(),
  claim: undefined,
  hosts: [],
  settings: {
    image: "berth-executor",
    pullPolicy: "Never",
    pullSecrets: [],
    runtimeClass: "gvisor",
    priorityClass: undefined,
    requests: 0.5,
    env: {},
    graceMs: 1_000,
  },
};

describe("a worker's sandbox", () => {
  const manifest = sandboxManifest(plan, END);

  it("holds the pod that would be made directly, with its labels", () => {
    const pod = podManifest(plan);
    expect(manifest.spec.podTemplate).toEqual({
      metadata: { labels: pod.metadata.labels, annotations: pod.metadata.annotations },
      spec: pod.spec,
    });
    expect(manifest.spec.podTemplate.spec.runtimeClassName).toBe("gvisor");
    expect(manifest.metadata.name).toBe(pod.metadata.name);
  });

  it("is removed by its controller when its time is over, with all that it had made", () => {
    expect(manifest.spec).toMatchObject({ shutdownTime: END, shutdownPolicy: "Delete" });
  });

  it("is read again as whose it is, and until when it lasts", () => {
    const { metadata, spec } = manifest;
    expect(readSandbox({ metadata: { ...metadata, uid: "1" }, spec })).toMatchObject({
      spec: plan.spec,
      node: "n1",
      isLeaving: false,
      isSuspended: false,
      shutdownAt: Date.parse(END),
      reason: "",
    });
  });

  it("is known from its pod, by the reference that controls it alone", () => {
    const owner = { apiVersion: "agents.x-k8s.io/v1beta1", kind: "Sandbox", name: "b", uid: "7" };
    const of = (ownerReferences: readonly (typeof owner & { controller?: boolean })[]) =>
      readPod({ metadata: { name: "b", uid: "1", ownerReferences }, spec: {} }).sandbox;
    expect(of([{ ...owner, controller: true }])).toEqual({ name: "b", uid: "7" });
    expect(of([owner])).toBeUndefined();
    expect(of([{ ...owner, controller: true, apiVersion: "other.io/v1" }])).toBeUndefined();
    expect(of([])).toBeUndefined();
  });
});

describe("an identity", () => {
  it("says for which pod it is, and the first container of any other ends with an error", () => {
    const secret = identitySecret({ name: "b", uid: "7" }, {}, "{}");
    expect(secret.stringData).toEqual({ identity: "{}", pod: "7" });
    const [first] = podManifest(plan).spec.initContainers ?? [];
    expect(first?.command?.at(-1)).toMatch(/pod\)" = "\$POD_UID" \] \|\| \{ .*exit 1; \}; mkdir/);
    expect(first?.env).toEqual([
      { name: "POD_UID", valueFrom: { fieldRef: { fieldPath: "metadata.uid" } } },
    ]);
  });
});

describe("a sandbox without a pod", () => {
  const sandbox = (ready?: { reason: string; message: string }, more: Partial<RawSandbox> = {}) =>
    readSandbox({
      metadata: { name: "b", uid: "1" },
      spec: {},
      status: { conditions: ready ? [{ type: "Ready", status: "False", ...ready }] : [] },
      ...more,
    });
  const refused = (message: string) => sandbox({ reason: "ReconcilerError", message });

  it("is waited for while its controller has it in hand", () => {
    expect(decideMade(sandbox(), 0)).toEqual({ as: "waits" });
    const said = { reason: "DependenciesNotReady", message: "Pod does not exist" };
    expect(decideMade(sandbox(said), 9_999)).toEqual({ as: "waits" });
  });

  it("has failed when its controller was refused the pod, and says so for a while", () => {
    const error = refused("Error seen: RuntimeClass not found");
    expect(decideMade(error, 1_999)).toEqual({ as: "waits" });
    expect(decideMade(error, 2_000)).toEqual({
      as: "failed",
      code: "driver.failed",
      reason: "its sandbox gets no pod: Error seen: RuntimeClass not found",
    });
  });

  it("is too much for the cluster at once where a quota is used up", () => {
    const error = refused("Error seen: pods is forbidden: exceeded quota: full");
    expect(decideMade(error, 0)).toMatchObject({ as: "failed", code: "capacity.exhausted" });
  });

  it("has failed when nobody makes its pod, with what is known of that", () => {
    expect(decideMade(sandbox(), 10_000)).toMatchObject({
      as: "failed",
      reason: expect.stringMatching(/does its controller run\?$/),
    });
    const said = { reason: "DependenciesNotReady", message: "Pod does not exist" };
    expect(decideMade(sandbox(said), 10_000)).toMatchObject({
      reason: expect.stringMatching(/DependenciesNotReady: Pod does not exist$/),
    });
  });

  it("has failed when it is removed, suspended or past its time", () => {
    expect(decideMade(undefined, 0)).toMatchObject({ as: "failed" });
    const leaving = sandbox(undefined, {
      metadata: { name: "b", uid: "1", deletionTimestamp: END },
    });
    expect(decideMade(leaving, 0)).toMatchObject({ as: "failed" });
    const suspended = sandbox(undefined, { spec: { operatingMode: "Suspended" } });
    expect(decideMade(suspended, 0)).toMatchObject({ as: "failed" });
    const expired = sandbox({ reason: "SandboxExpired", message: "Sandbox has expired" });
    expect(decideMade(expired, 0)).toMatchObject({ as: "failed" });
  });
});
