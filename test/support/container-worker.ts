/** A worker in a container of the workers' image, with the limits that a driver sets, told who it is as a driver tells it. */
import { randomUUID } from "node:crypto";
import { text } from "node:stream/consumers";
import type Docker from "dockerode";
import { formatIdentity, WAITS_FOR_IDENTITY } from "../../executor/identity.ts";
import type { WorkerIdentity } from "../../protocols/executor.ts";
import { docker, EXECUTOR_IMAGE } from "./docker.ts";
import { eventually } from "./eventually.ts";
import type { Broker, NodeDouble } from "./executor-rig.ts";

const MIB = 1024 ** 2;
const WORKSPACES = { job: "/tmp/berth", user: "/berth/workspace" } as const;

export interface ContainerWorker extends AsyncDisposable {
  readonly id: string;
  readonly container: Docker.Container;
  /** Standard output and error of a command that comes in from outside. */
  exec(command: readonly string[], user?: "root"): Promise<string>;
  /** Command lines of all its processes, as the host sees them. */
  processes(): Promise<string[]>;
  /** What the worker has written. */
  log(): Promise<string>;
}

export interface ContainerWorkerOptions {
  readonly mode?: "job" | "user";
  readonly slots?: number;
  readonly memoryMib?: number;
  readonly processes?: number;
  readonly env?: Readonly<Record<string, string>>;
}

function createContainer(options: ContainerWorkerOptions): Promise<Docker.Container> {
  const { mode = "job", memoryMib = 256, processes = 128, env = {} } = options;
  const memory = memoryMib * MIB;
  return docker.createContainer({
    Image: EXECUTOR_IMAGE,
    Labels: { "berth.deployment": `test-${randomUUID()}` },
    User: "1000:1000",
    Env: Object.entries({
      BERTH_WORKSPACE: mode === "job" ? "/tmp/berth/workspace" : "/berth/workspace",
      // All containers of tests share the host's network, and so its ports.
      BERTH_HEALTH_PORT: "",
      BERTH_GRACE_MS: "300",
      ...env,
    }).map(([name, value]) => `${name}=${value}`),
    OpenStdin: true,
    Healthcheck: { Test: ["NONE"] },
    HostConfig: {
      Init: true,
      NetworkMode: "host",
      IpcMode: "private",
      ReadonlyRootfs: true,
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      Memory: memory,
      MemorySwap: memory,
      PidsLimit: processes,
      // Whatever a job does in it, the machine stays usable.
      NanoCpus: 5e8,
      Tmpfs: {
        "/tmp": "rw,nosuid,nodev,exec,mode=1777,size=64m",
        [WORKSPACES[mode]]: "rw,nosuid,nodev,exec,uid=1000,gid=1000,mode=0700,size=64m",
      },
    },
  });
}

export async function startContainerWorker(
  broker: Broker,
  node: NodeDouble,
  options: ContainerWorkerOptions & {
    /** Between the moment when it waits and the moment when it is told. */
    readonly meanwhile?: (container: Docker.Container) => Promise<void>;
  } = {},
): Promise<ContainerWorker> {
  const container = await createContainer(options);
  const worker: ContainerWorker = {
    id: `wrk-${randomUUID().slice(0, 8)}`,
    container,
    exec: (command, user) => exec(container, command, user),
    async processes() {
      const { Processes } = (await container.top({ ps_args: "-eo pid,args" })) as {
        Processes: string[][];
      };
      return Processes.map((columns) => columns.slice(1).join(" "));
    },
    log: async () => (await container.logs({ stdout: true, stderr: true })).toString("utf8"),
    async [Symbol.asyncDispose]() {
      await container.remove({ force: true, v: true });
    },
  };
  try {
    const input = await container.attach({ stream: true, stdin: true, hijack: true });
    await container.start();
    await eventually(async () => (await worker.log()).includes(WAITS_FOR_IDENTITY), {
      within: 30_000,
      name: "it waits for its identity",
    });
    await options.meanwhile?.(container);
    input.write(formatIdentity(identityOf(worker.id, broker, options)));
    await eventually(() => node.hellos.has(worker.id), { within: 30_000, name: "hello" });
    return worker;
  } catch (thrown) {
    const said = await worker.log().catch(() => "");
    await worker[Symbol.asyncDispose]();
    throw new Error(`the worker said: ${said}`, { cause: thrown });
  }
}

function identityOf(
  worker: string,
  broker: Broker,
  { mode = "job", slots = 1 }: ContainerWorkerOptions,
): WorkerIdentity {
  return {
    ...{ worker, slots, nats_url: broker.workerUrl, partitions: 64 },
    tier: mode === "job" ? "free" : "pro",
    workspace_mode: mode,
  };
}

async function exec(
  container: Docker.Container,
  command: readonly string[],
  user = "1000:1000",
): Promise<string> {
  const started = await container.exec({
    Cmd: [...command],
    User: user,
    AttachStdout: true,
    AttachStderr: true,
    // One stream, without the engine's frames.
    Tty: true,
  });
  return await text(await started.start({ hijack: true, Tty: true }));
}
