/** What an agent finds in a worker's pod, read from inside by the worker's own user. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { WorkerSpec } from "../../protocols/executor.ts";
import { eventually } from "../support/eventually.ts";
import { type Broker, orderOf, startBroker } from "../support/executor-rig.ts";
import { kubectl, workersNamespace } from "../support/kubernetes.ts";
import { type KubernetesRig, kubernetesDriverRig } from "../support/kubernetes-driver-rig.ts";
import { workerSpec } from "../support/worker-specs.ts";

describe("a worker's pod", () => {
  let broker: Broker;
  let workers: Awaited<ReturnType<typeof workersNamespace>>;
  let rig: KubernetesRig;
  let spec: WorkerSpec;
  beforeAll(async () => {
    broker = await startBroker();
    workers = await workersNamespace();
    rig = await kubernetesDriverRig(broker, { namespace: workers.name });
    spec = workerSpec();
    await rig.driver.start(spec, rig.connection);
    await eventually(() => rig.hellos(spec.worker) > 0, { name: "hello", within: 20_000 });
  });
  afterAll(async () => {
    await rig[Symbol.asyncDispose]();
    await workers[Symbol.asyncDispose]();
    await broker[Symbol.asyncDispose]();
  });
  const inside = (script: string) => rig.exec(spec.worker, "sh", "-c", `${script} 2>&1; true`);

  it("is of user 1000, without a capability or a way to more, under a seccomp profile", () => {
    expect(inside("id -u; id -g")).toBe("1000\n1000\n");
    const status = inside("cat /proc/self/status");
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
      expect(status).toMatch(new RegExp(`^${set}:\\t0{16}$`, "m"));
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    expect(status).toMatch(/^Seccomp:\t2$/m);
    expect(inside("unshare --user true || echo refused")).toContain("refused");
  });

  it("has a root that cannot be written, and places that can", () => {
    for (const folder of ["/etc", "/opt/berth", "/usr", "/var/tmp", "/run"])
      expect(inside(`touch ${folder}/x`)).toMatch(/Read-only file system|Permission denied/);
    expect(inside("touch /tmp/x /tmp/berth/workspace/x && rm /tmp/x /tmp/berth/workspace/x")).toBe(
      "",
    );
    expect(inside("df --output=fstype /tmp")).toContain("tmpfs");
  });

  it("holds no account of the cluster, no name of a service, and nothing of who it is", () => {
    for (const folder of ["/var/run/secrets", "/run/secrets", "/run/berth-identity"])
      expect(inside(`ls ${folder}`)).toContain("No such file");
    // The cluster tells every container the address of its API, which no policy lets a worker reach.
    expect(inside("env")).not.toMatch(/^(?!KUBERNETES_)\w+_SERVICE_HOST=|nats:\/\//m);
    expect(inside("cat /tmp/identity")).toContain("No such file");
    const secrets = kubectl(["--namespace", rig.namespace, "get", "secrets", "--output=name"]);
    expect(secrets).not.toContain(spec.worker);
  });

  it("asks no name server", () => {
    expect(inside("cat /etc/resolv.conf")).toContain("nameserver 127.0.0.1");
  });

  it("is bounded in memory and processors as its tier is", () => {
    const memory =
      "cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max";
    expect(inside(memory)).toContain(String(spec.memory_bytes));
    const pod = kubectl([
      "--namespace",
      rig.namespace,
      "get",
      "pod",
      rig.pod(spec.worker),
      "-o=json",
    ]);
    const { spec: made } = JSON.parse(pod) as {
      spec: { containers: { resources: { limits: object; requests: object } }[] };
    };
    expect(made.containers[0]?.resources).toEqual({
      limits: { cpu: "500m", memory: "268435456", "ephemeral-storage": "134217728" },
      requests: { cpu: "100m", memory: "53687092", "ephemeral-storage": "26843546" },
    });
  });

  it("runs jobs, takes the dead whom they leave, and wipes what they left", async () => {
    const orphan = "(sleep 0.1 & exec 2>&-) & echo hello > /tmp/left; touch left; echo made";
    const log = await rig.node.run(spec.worker, orderOf("shell", orphan));
    expect(log.text()).toContain("made");
    expect(log.outcome?.state).toBe("succeeded");
    expect(inside("ls /tmp/left /tmp/berth/workspace/tmp")).not.toMatch(/^left/m);
    await eventually(() => !inside("cat /proc/[0-9]*/status").includes("Z (zombie)"), {
      name: "no zombie",
    });
  });

  it("does not let the worker's memory and environment be read", () => {
    const worker = "$(grep -l executor.mjs /proc/[0-9]*/cmdline | head -n 1 | cut -d/ -f3)";
    expect(inside(`cat /proc/${worker}/environ`)).toContain("Permission denied");
  });
});
