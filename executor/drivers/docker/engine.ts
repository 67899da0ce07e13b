/**
 * A container engine over its socket. The only file that knows the engine's HTTP codes and answers.
 *
 * Invariants:
 * E1 Every call is bounded; only the stream of events and an attached standard input stay open.
 * E2 What is not there is stopped, paused and removed already: those calls do not fail for it.
 */
import Docker from "dockerode";
import { BerthError } from "../../../protocols/errors.ts";
import type { WorkerUse } from "../../../protocols/executor.ts";
import type { Labels } from "./labels.ts";

export type ContainerState = "created" | "running" | "paused" | "exited" | "dead" | "restarting";

export interface ListedContainer {
  readonly id: string;
  readonly name: string;
  readonly state: ContainerState;
  readonly labels: Labels;
  /** Undefined for one that has none, or none any more. */
  readonly network: { readonly name: string; readonly gateway: string } | undefined;
}

export interface ContainerEnd {
  readonly exitCode: number;
  /** The kernel took a process of it for want of memory. */
  readonly isOutOfMemory: boolean;
  readonly memoryLimitBytes: number;
  readonly error: string;
}

export interface ContainerEvent {
  readonly action: string;
  readonly id: string;
}

/** For calls that the engine answers from memory, and for those that start or end processes. */
const CALL_TIMEOUT_MS = 30_000;
const LOG_TAIL_LINES = 400;

export class Engine {
  /** For the parts that make networks and volumes. */
  readonly docker: Docker;
  readonly #streams: Docker;

  constructor(socketPath: string) {
    this.docker = new Docker({ socketPath, timeout: CALL_TIMEOUT_MS });
    this.#streams = new Docker({ socketPath });
  }

  /** Rejects with `driver.unavailable` when nothing answers. */
  async version(): Promise<string> {
    try {
      return (await this.docker.version()).Version;
    } catch (cause) {
      throw new BerthError("driver.unavailable", "no container engine answers", { cause });
    }
  }

  /** Processors of the engine's machine: it refuses a container that is to have more. */
  async processors(): Promise<number> {
    try {
      return ((await this.docker.info()) as { readonly NCPU: number }).NCPU;
    } catch (cause) {
      throw new BerthError("driver.unavailable", "the container engine does not tell of its host", {
        cause,
      });
    }
  }

  /** Labels of an image; undefined when the engine does not have it. */
  async imageLabels(image: string): Promise<Labels | undefined> {
    try {
      return (await this.docker.getImage(image).inspect()).Config.Labels ?? {};
    } catch (thrown) {
      if (statusOf(thrown) === 404) return undefined;
      throw failed(thrown, "the image could not be looked at");
    }
  }

  async list(filters: { readonly label: string[] }): Promise<ListedContainer[]> {
    const found = await this.docker
      .listContainers({ all: true, filters })
      .catch((thrown: unknown) => {
        throw failed(thrown, "the engine's containers could not be listed");
      });
    return found.map((entry) => ({
      id: entry.Id,
      name: entry.Names[0]?.replace(/^\//, "") ?? "",
      state: entry.State as ContainerState,
      labels: entry.Labels,
      network: networkOf(entry.NetworkSettings?.Networks),
    }));
  }

  async networks(filters: {
    readonly label: string[];
  }): Promise<{ readonly name: string; readonly labels: Labels }[]> {
    const found = await this.docker.listNetworks({ filters }).catch((thrown: unknown) => {
      throw failed(thrown, "the engine's networks could not be listed");
    });
    return found.map(({ Name, Labels: labels }) => ({ name: Name, labels: labels ?? {} }));
  }

  /** False while a container is in it, or when it is gone already. */
  async removeNetwork(name: string): Promise<boolean> {
    try {
      await this.docker.getNetwork(name).remove();
      return true;
    } catch {
      return false;
    }
  }

  /** Resolves with the id. One of that name, half made by a start that was cut off, goes first. */
  async create(
    options: Docker.ContainerCreateOptions & { readonly name: string },
  ): Promise<string> {
    const make = async () => (await this.docker.createContainer(options)).id;
    try {
      return await make();
    } catch (thrown) {
      if (statusOf(thrown) !== 409) throw failed(thrown, "the container could not be made");
      await this.remove(options.name);
      return await make().catch((again: unknown) => {
        throw failed(again, "the container could not be made");
      });
    }
  }

  async start(id: string): Promise<void> {
    await this.docker
      .getContainer(id)
      .start()
      .catch((thrown: unknown) => {
        if (statusOf(thrown) !== 304) throw failed(thrown, "the container could not be started");
      });
  }

  /** SIGTERM, and SIGKILL after the grace (E2). */
  async stop(id: string, graceMs: number): Promise<void> {
    await this.#gone(
      this.docker.getContainer(id).stop({ t: Math.ceil(graceMs / 1_000) }),
      "stopped",
    );
  }

  /** Whatever state it is in, with its anonymous volumes (E2). */
  async remove(id: string): Promise<void> {
    await this.#gone(this.docker.getContainer(id).remove({ force: true, v: true }), "removed");
  }

  async pause(id: string): Promise<void> {
    await this.docker
      .getContainer(id)
      .pause()
      .catch((thrown: unknown) => {
        throw failed(thrown, "the container could not be paused");
      });
  }

  async unpause(id: string): Promise<void> {
    await this.docker
      .getContainer(id)
      .unpause()
      .catch((thrown: unknown) => {
        throw failed(thrown, "the container could not be unpaused");
      });
  }

  async rename(id: string, name: string): Promise<void> {
    await this.docker.getContainer(id).rename({ name });
  }

  /** Its standard input, and with `output` what it writes, as lines come. Not on a paused container. */
  async attach(id: string, options: { readonly output: boolean }): Promise<NodeJS.ReadWriteStream> {
    return await this.#streams
      .getContainer(id)
      .attach({
        stream: true,
        hijack: true,
        stdin: true,
        stdout: options.output,
        stderr: false,
      })
      .catch((thrown: unknown) => {
        throw failed(thrown, "the container could not be attached to");
      });
  }

  /** Undefined when there is no such container. */
  async end(id: string): Promise<ContainerEnd | undefined> {
    try {
      const { State, HostConfig } = await this.docker.getContainer(id).inspect();
      return {
        exitCode: State.ExitCode,
        isOutOfMemory: State.OOMKilled,
        memoryLimitBytes: HostConfig.Memory ?? 0,
        error: State.Error,
      };
    } catch (thrown) {
      if (statusOf(thrown) === 404) return undefined;
      throw failed(thrown, "the container could not be looked at");
    }
  }

  /** The last lines that it wrote; empty when there is nothing of it. */
  async logTail(id: string): Promise<string> {
    try {
      const raw = await this.docker
        .getContainer(id)
        .logs({ stdout: true, stderr: true, tail: LOG_TAIL_LINES, follow: false });
      return demultiplex(raw);
    } catch {
      return "";
    }
  }

  /** Undefined for a container that ended meanwhile. */
  async use(id: string, image: string): Promise<WorkerUse | undefined> {
    try {
      const stats = await this.docker.getContainer(id).stats({ stream: false, "one-shot": true });
      // Empty for a container that is just ending, whatever the types say.
      const memory: Partial<typeof stats.memory_stats> = stats.memory_stats;
      const { usage = 0, limit, stats: detail } = memory;
      // As `docker stats` counts: pages of files that the kernel gives back when it must are not in use.
      const cached = detail?.total_inactive_file ?? detail?.inactive_file ?? 0;
      return {
        image,
        // The engine's time: when its answer comes, on a busy host, says little about when it measured.
        read_at: Date.parse(stats.read),
        cpu_ms: Math.round((stats.cpu_stats.cpu_usage?.total_usage ?? 0) / 1e6),
        memory_bytes: Math.max(0, usage - cached),
        memory_limit_bytes: limit ?? null,
        processes: stats.pids_stats?.current ?? null,
      };
    } catch {
      return undefined;
    }
  }

  /** Follows events of containers until the stream ends or the signal aborts; resolves then. Rejects when it could not begin. */
  async follow(
    filters: { readonly label: string[] },
    on: { readonly open: () => void; readonly event: (event: ContainerEvent) => void },
    signal: AbortSignal,
  ): Promise<void> {
    const stream = await this.#streams.getEvents({
      filters: { type: ["container"], ...filters },
      abortSignal: signal,
    });
    await new Promise<void>((resolve) => {
      const lines = new JsonLines(on.event);
      stream.on("data", (chunk: Buffer) => lines.push(chunk.toString("utf8")));
      for (const ending of ["end", "close", "error"]) stream.once(ending, () => resolve());
      on.open();
    });
  }

  async #gone(call: Promise<unknown>, what: string): Promise<void> {
    await call.catch((thrown: unknown) => {
      const status = statusOf(thrown);
      // 304: it is stopped. 409: it is being removed already; whoever looks again finds it gone.
      if (status !== 404 && status !== 304 && status !== 409)
        throw failed(thrown, `the container could not be ${what}`);
    });
  }
}

/** One JSON value a line, in pieces of any size. */
class JsonLines {
  readonly #onEvent: (event: ContainerEvent) => void;
  #rest = "";

  constructor(onEvent: (event: ContainerEvent) => void) {
    this.#onEvent = onEvent;
  }

  push(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.trim() === "") continue;
      const { Action, id } = JSON.parse(line) as { Action?: string; id?: string };
      if (Action !== undefined && id !== undefined) this.#onEvent({ action: Action, id });
    }
  }
}

/** The engine frames output that comes from no terminal: a byte for the stream, three of nothing, four for the length. */
function demultiplex(raw: Buffer): string {
  const parts: Buffer[] = [];
  for (let at = 0; at + 8 <= raw.length; ) {
    const length = raw.readUInt32BE(at + 4);
    parts.push(raw.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  return Buffer.concat(parts).toString("utf8");
}

function networkOf(
  networks: Readonly<Record<string, { readonly Gateway: string }>> = {},
): ListedContainer["network"] {
  const [first] = Object.entries(networks);
  return first && { name: first[0], gateway: first[1].Gateway };
}

function statusOf(thrown: unknown): number | undefined {
  const { statusCode } = (thrown ?? {}) as { statusCode?: unknown };
  return typeof statusCode === "number" ? statusCode : undefined;
}

/** A failure that a later call may not meet, with the engine's own words. */
function failed(thrown: unknown, what: string): BerthError {
  const said = thrown instanceof Error ? thrown.message : String(thrown);
  return new BerthError("driver.failed", `${what}: ${said.slice(0, 500)}`, { cause: thrown });
}
