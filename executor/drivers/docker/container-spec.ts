/** A worker's container as the engine is asked for it: limits of the tier, and nothing that an agent could use against its host. Pure. */
import type Docker from "dockerode";
import type { WorkerSpec } from "../../../protocols/executor.ts";
import type { Labels } from "./labels.ts";

/** What makes one worker's container differ from another's, apart from whose it is. */
export type WorkerSize = Pick<
  WorkerSpec,
  | "tier"
  | "workspace"
  | "cpus"
  | "memory_bytes"
  | "storage_bytes"
  | "processes"
  | "network"
  | "internet"
>;

export interface ContainerPlan {
  readonly name: string;
  readonly image: string;
  readonly labels: Labels;
  readonly size: WorkerSize;
  /** Nothing secret: whoever may look at the container sees it. */
  readonly env: Readonly<Record<string, string>>;
  readonly network: string;
  readonly mounts: Pick<Docker.HostConfig, "Mounts" | "Tmpfs">;
  readonly runtime: string | undefined;
  /** Of the host: a container gets no more, whatever its tier says. */
  readonly processors: number;
}

const MIB = 1024 ** 2;
/** Shared memory that browsers and databases reach for. It counts as memory. */
const SHM_BYTES = 64 * MIB;
const TMP_BYTES = 256 * MIB;
/**
 * The engine's resolver, which knows the network's own names, asks for all others here: in the container itself, where nobody
 * answers. So no question leaves it, by which data could leave, too. Names outside are the proxy's to resolve.
 */
export const NO_NAME_SERVER = {
  Dns: ["127.0.0.1"],
  DnsSearch: ["."],
  // It is silent about what it cannot know: whoever asks is not to wait for long.
  DnsOptions: ["timeout:1", "attempts:1"],
};
/** As user 1000, also where an image says otherwise. */
const USER = "1000:1000";

export function containerOptions(
  plan: ContainerPlan,
): Docker.ContainerCreateOptions & { readonly name: string } {
  return {
    name: plan.name,
    Image: plan.image,
    User: USER,
    Labels: { ...plan.labels },
    Env: Object.entries(plan.env).map(([name, value]) => `${name}=${value}`),
    // The identity comes this way, and may come long after the start.
    OpenStdin: true,
    StdinOnce: false,
    Tty: false,
    // Its beats tell its host more than a probe would, which starts a process each time.
    Healthcheck: { Test: ["NONE"] },
    HostConfig: hostConfig(plan),
  };
}

function hostConfig({
  size,
  network,
  mounts,
  runtime,
  processors,
}: ContainerPlan): Docker.HostConfig {
  const tmpBytes = Math.min(TMP_BYTES, Math.floor(size.memory_bytes / 4));
  return {
    ...(runtime === undefined ? {} : { Runtime: runtime }),
    ...mounts,
    NetworkMode: network,
    ...(size.internet ? {} : NO_NAME_SERVER),
    // Reaps what agents leave: a Node process would not.
    Init: true,
    Tmpfs: { "/tmp": `rw,nosuid,nodev,mode=1777,size=${tmpBytes}`, ...mounts.Tmpfs },
    ReadonlyRootfs: true,
    Privileged: false,
    CapDrop: ["ALL"],
    // The engine's own seccomp profile holds as long as none is named.
    SecurityOpt: ["no-new-privileges"],
    NanoCpus: Math.round(Math.min(size.cpus, processors) * 1e9),
    Memory: size.memory_bytes,
    // As much as memory: no swap.
    MemorySwap: size.memory_bytes,
    PidsLimit: size.processes,
    ShmSize: Math.min(SHM_BYTES, Math.floor(size.memory_bytes / 8)),
    IpcMode: "private",
    Ulimits: [{ Name: "core", Soft: 0, Hard: 0 }],
    // A worker that ends is its supervisor's to replace, under another id.
    RestartPolicy: { Name: "no" },
    LogConfig: { Type: "json-file", Config: { "max-size": "1m", "max-file": "1" } },
  };
}
