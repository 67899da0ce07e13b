/** The Kubernetes driver as a node opens it, on the tests' cluster, under a deployment of its own that leaves nothing behind. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { loadConfig } from "../../deploy/config.ts";
import { openDriver } from "../../deploy/drivers.ts";
import type { Driver, WorkerConnection } from "../../executor/drivers/driver.ts";
import { claimName, podName } from "../../executor/drivers/kubernetes/labels.ts";
import type { WorkerSpec } from "../../protocols/executor.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { MemoryBroker } from "../../runtime/memory/broker.ts";
import { connectMemory } from "../../runtime/memory/transport.ts";
import type { DriverRig } from "../conformance/driver.ts";
import { docker, EXECUTOR_IMAGE } from "./docker.ts";
import { NOTHING_WANTED } from "./docker-driver-rig.ts";
import { eventually } from "./eventually.ts";
import { type Broker, NodeDouble } from "./executor-rig.ts";
import { bridgeAddress, clusterLeftovers, KUBECONFIG, kubectl, kubectlJson } from "./kubernetes.ts";
import { TcpProxy } from "./tcp-proxy.ts";

export interface KubernetesRig extends DriverRig {
  readonly deployment: string;
  readonly namespace: string;
  readonly node: NodeDouble;
  /** As another node of the deployment. */
  open(nodeId: string, environment?: Readonly<Record<string, string>>): Promise<Driver>;
  /** What the command printed, run in the worker's pod as its user. */
  exec(worker: string, ...command: readonly string[]): string;
  /** As `exec`, without waiting, and whatever comes of it. */
  run(worker: string, ...command: readonly string[]): void;
  pod(worker: string): string;
}

export interface KubernetesRigOptions {
  readonly namespace: string;
  readonly environment?: Readonly<Record<string, string>>;
}

export async function kubernetesDriverRig(
  broker: Broker,
  { environment = {}, namespace }: KubernetesRigOptions,
): Promise<KubernetesRig> {
  const more = environment["BERTH_KUBERNETES_WORKERS"] === "sandboxes" ? "sandboxes" : "";
  const dataDir = await mkdtemp(join(tmpdir(), "berth-kubernetes-"));
  const deployment = `test-${randomBytes(4).toString("hex")}`;
  const node = await NodeDouble.open(broker);
  // The broker listens on loopback, which no pod reaches.
  const url = new URL(broker.workerUrl);
  const bridge = await bridgeAddress();
  const door = await TcpProxy.start(Number(url.port), bridge);
  url.host = `${bridge}:${door.port}`;
  const natsUrl = url.href.replace(/\/$/, "");
  const connection: WorkerConnection = { natsUrl, partitions: 64 };
  const { buckets } = connectMemory(
    new MemoryBroker({ clock: systemClock, partitions: 4, mailboxCapacity: 100 }),
  );
  const opened: Driver[] = [];
  const open = async (nodeId = "n1", own: Readonly<Record<string, string>> = {}) => {
    const config = loadConfig({
      PATH: process.env["PATH"],
      KUBECONFIG,
      BERTH_DRIVER: "kubernetes",
      BERTH_DATA: join(dataDir, nodeId),
      BERTH_DEPLOYMENT: deployment,
      BERTH_KUBERNETES_NAMESPACE: namespace,
      BERTH_KUBERNETES_IMAGE: EXECUTOR_IMAGE,
      BERTH_KUBERNETES_PULL_POLICY: "Never",
      BERTH_KILL_GRACE: "500ms",
      // The cluster is one small machine.
      BERTH_KUBERNETES_REQUESTS: "0.2",
      ...environment,
      ...own,
    });
    const { driver } = await openDriver({
      config,
      clock: systemClock,
      logger: silentLogger,
      buckets,
      nodeId,
      workerUrl: natsUrl,
      liveNodes: () => ["n1"],
      workerProgram: "",
    });
    opened.push(driver);
    return driver;
  };
  const pod = (worker: string) => podName(deployment, worker);
  const inside = (worker: string, command: readonly string[]) => [
    ...["--namespace", namespace, "exec", pod(worker), "--container=worker", "--", ...command],
  ];
  const exec = (worker: string, ...command: readonly string[]) => kubectl(inside(worker, command));
  const close = async () => {
    await node[Symbol.asyncDispose]();
    await door[Symbol.asyncDispose]();
    await rm(dataDir, { recursive: true, force: true });
  };
  const driver = await open().catch(async (thrown: unknown) => {
    await close();
    throw thrown;
  });
  return {
    deployment,
    namespace,
    node,
    driver,
    connection,
    open,
    reopen: () => open(),
    exec,
    run: (worker, ...command) => {
      const args = ["--kubeconfig", KUBECONFIG, ...inside(worker, command)];
      spawn("kubectl", args, { stdio: "ignore", timeout: 60_000 });
    },
    pod,
    measures: false,
    crash: async (worker) => {
      const found = await docker.listContainers({
        filters: {
          label: [
            `io.kubernetes.pod.name=${pod(worker)}`,
            `io.kubernetes.pod.namespace=${namespace}`,
            "io.kubernetes.container.name=worker",
          ],
        },
      });
      if (found[0] === undefined) throw new Error(`${worker} has no container`);
      await docker.getContainer(found[0].Id).kill({ signal: "SIGKILL" });
    },
    hellos: (worker) => (node.hellos.has(worker) ? 1 : 0),
    mark: async ({ worker }) => void exec(worker, "touch", "/berth/workspace/mark"),
    hasMark: async (spec) => hasMark(namespace, deployment, spec),
    async [Symbol.asyncDispose]() {
      // One that was closed hears of nothing any more. A pod that is made again as its sandbox goes is a living node's to sweep.
      const last = more === "" ? (opened.at(-1) ?? driver) : await open();
      for (const { worker } of await last.list()) await last.stop(worker, { keepWorkspace: false });
      await eventually(
        async () => {
          await last.sweep(NOTHING_WANTED);
          const left = more === "" ? [] : clusterLeftovers(namespace, deployment, more);
          expect(left.filter((name) => /^(?:pod|sandbox)/.test(name))).toEqual([]);
        },
        { name: "no worker is left", within: 20_000 },
      );
      for (const one of opened) await one.dispose({ removeAll: one === last });
      await close();
      await eventually(() => clusterLeftovers(namespace, deployment, more).length === 0, {
        name: "nothing of the deployment is left",
        within: 20_000,
      });
    },
  };
}

/** Volumes of the tests' cluster are folders of this machine. */
function hasMark(namespace: string, deployment: string, spec: WorkerSpec): boolean {
  const name = claimName(deployment, spec.tenant, spec.workspace_key);
  try {
    const claim = kubectlJson([
      ...["--namespace", namespace, "get", "persistentvolumeclaim", name],
    ]) as { spec: { volumeName: string } };
    const volume = kubectlJson(["get", "persistentvolume", claim.spec.volumeName]) as {
      spec: { hostPath: { path: string } };
    };
    return existsSync(join(volume.spec.hostPath.path, "workspace", "mark"));
  } catch {
    return false;
  }
}
