/** `berth up` with the Kubernetes driver as a process of its own, under a deployment of its own in the tests' cluster. */
import { randomBytes } from "node:crypto";
import { expect } from "vitest";
import { BerthClient } from "../../gateway/client.ts";
import type { SessionEvent } from "../../protocols/events.ts";
import { type BerthProcess, spawnBerth } from "./berth-process.ts";
import { EXECUTOR_IMAGE } from "./docker.ts";
import { follow } from "./docker-berth.ts";
import { eventually } from "./eventually.ts";
import { freePort } from "./free-port.ts";
import { bridgeAddress, clusterLeftovers, KUBECONFIG, kubectlJson } from "./kubernetes.ts";
import { TcpProxy } from "./tcp-proxy.ts";

export const JOB_MS = 60_000;

interface Metadata {
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface KubernetesBerth extends AsyncDisposable {
  readonly berth: BerthProcess;
  readonly deployment: string;
  readonly client: BerthClient;
  readonly pods: () => readonly Metadata[];
  /** Runs the job to its end. */
  readonly job: (
    prompt: string,
  ) => Promise<{ readonly output: string; readonly end: SessionEvent | undefined }>;
  /** Ends Berth, and sees that nothing is left but users' workspaces. */
  readonly end: () => Promise<void>;
}

export async function spawnKubernetesBerth(
  namespace: string,
  env: Readonly<Record<string, string>> = {},
): Promise<KubernetesBerth> {
  const [bridge, port] = [await bridgeAddress(), await freePort("nats-server")];
  const door = await TcpProxy.start(port, bridge);
  const deployment = `test-${randomBytes(4).toString("hex")}`;
  const spawned = spawnBerth({
    KUBECONFIG,
    BERTH_DRIVER: "kubernetes",
    BERTH_DEPLOYMENT: deployment,
    BERTH_KUBERNETES_NAMESPACE: namespace,
    BERTH_KUBERNETES_IMAGE: EXECUTOR_IMAGE,
    BERTH_KUBERNETES_PULL_POLICY: "Never",
    BERTH_NATS_PORT: String(port),
    BERTH_WORKER_NATS_URL: `nats://${bridge}:${door.port}`,
    BERTH_FLEET_AGENTS: "",
    BERTH_TIERS: JSON.stringify({
      free: { minWorkers: 0, maxWorkers: 1 },
      pro: { cpus: 1 },
      enterprise: { minWorkers: 0 },
    }),
    ...env,
  });
  const berth = await spawned.catch(async (thrown: unknown) => {
    await door[Symbol.asyncDispose]();
    throw thrown;
  });
  const { keys, url } = await berth.dev();
  const client = new BerthClient({ url, key: keys.pro, patienceMs: JOB_MS });
  return {
    berth,
    deployment,
    client,
    pods: () => {
      const found = kubectlJson(["--namespace", namespace, "get", "pods"]);
      return (found as { items: readonly { metadata: Metadata }[] }).items.map(
        ({ metadata }) => metadata,
      );
    },
    job: async (prompt) => {
      const { session_id } = await client.submit({ agent: "shell", prompt });
      await using reader = follow(client, session_id);
      await eventually(() => expect(reader.ends()).toHaveLength(1), {
        within: JOB_MS,
        name: "the job's end",
      });
      return { output: reader.output(), end: reader.ends()[0] };
    },
    end: async () => {
      await berth.terminate();
      await eventually(
        () => {
          const left = clusterLeftovers(namespace, deployment);
          expect(left.filter((name) => !name.startsWith("persistentvolumeclaim/"))).toEqual([]);
        },
        { within: 30_000, name: "nothing but the user's workspace is left" },
      );
    },
    async [Symbol.asyncDispose]() {
      await berth[Symbol.asyncDispose]();
      await door[Symbol.asyncDispose]();
    },
  };
}
