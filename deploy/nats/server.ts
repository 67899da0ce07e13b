/**
 * Our own nats-server: a tethered child (`tether.ts`) with a store in the data directory. It holds:
 * S1 one server per store: a second one on the same store is refused with `setup.in_use`;
 * S2 a server that dies is started again, on the same port and store, until `stop`;
 * S3 `start` resolves only when this very server answers (its name is checked), and rejects within a bound;
 * S4 `stop` is bounded: SIGTERM, then SIGKILL.
 */
import { randomUUID } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { BerthError } from "../../protocols/errors.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import { formatServerConfig } from "./server-config.ts";
import { readServerInfo } from "./server-info.ts";
import { LOCKED_EXIT_CODE, startTethered, type TetheredChild } from "./tether.ts";

export interface NatsServerOptions {
  readonly binary: string;
  /** Holds the store (`nats/`), the configuration and the log. */
  readonly dataDir: string;
  /** On loopback. Must be free; see `ports.ts`. */
  readonly port: number;
  readonly monitorPort?: number | undefined;
  /** How often the store is synced to disk: a duration of the server's ("2m"), or "always" before each answer. */
  readonly syncInterval?: string;
  /**
   * Who may connect, as lines of the configuration, asked at each start of the process. Absent: anybody on this machine
   * may do everything.
   */
  readonly access?: () => readonly string[];
  /** Whether a server that dies is started again (default true). */
  readonly restart?: boolean;
  /** Recovery of a large store takes long (default 60 s). */
  readonly readyTimeoutMs?: number;
}

/** In the data folder: of the server's process, for whoever restarts it. */
export const PID_FILE = "nats.pid";
/** Beside it: what the process was started with. */
export const CONFIG_FILE = "nats.conf";
/** Where the server keeps workers' accounts, as a line of the configuration names it. */
export const accountsFolder = (dataDir: string) => JSON.stringify(join(dataDir, "nats-accounts"));
/** The server's own default, stated: what a power cut can cost, see ARCHITECTURE.md. */
const SYNC_INTERVAL = "2m";
const READY_TIMEOUT_MS = 60_000;
const POLL_MS = 20;
const STOP_GRACE_MS = 5_000;
const KILL_WAIT_MS = 2_000;
const BACKOFF_FIRST_MS = 100;
const BACKOFF_MAX_MS = 5_000;
/** A server that lived this long starts again without a pause. */
const STABLE_MS = 30_000;

interface Ports {
  readonly clock: Clock;
  readonly logger: Logger;
}

export class NatsServer implements AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly #ports: Ports;
  readonly #options: NatsServerOptions;
  readonly #stopping = new AbortController();
  #child: TetheredChild | undefined;
  #supervision: Promise<void> = Promise.resolve();
  #restarts = 0;
  #version = "";

  private constructor(ports: Ports, options: NatsServerOptions) {
    this.#ports = ports;
    this.#options = options;
    this.port = options.port;
    this.url = `nats://127.0.0.1:${options.port}`;
  }

  /** Throws `setup.in_use` (S1), or `broker.unavailable` with the server's last words. */
  static async start(ports: Ports, options: NatsServerOptions): Promise<NatsServer> {
    await mkdir(options.dataDir, { recursive: true, mode: 0o700 });
    const server = new NatsServer(ports, options);
    try {
      await server.#launch();
    } catch (thrown) {
      await server.stop();
      throw thrown;
    }
    if (options.restart !== false) server.#supervision = server.#supervise();
    return server;
  }

  get version(): string {
    return this.#version;
  }

  /** Undefined while it is down. */
  get pid(): number | undefined {
    return this.#child?.hasExited() === false ? this.#child.pid : undefined;
  }

  /** Times that it died and was started again. */
  get restarts(): number {
    return this.#restarts;
  }

  /** S4. Safe to call twice. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#end(this.#child);
    await this.#supervision;
    // A restart that was under way may have begun another.
    await this.#end(this.#child);
  }

  async #end(child: TetheredChild | undefined): Promise<void> {
    if (!child || child.hasExited()) return;
    child.kill("SIGTERM");
    await this.#within(STOP_GRACE_MS, child.exited);
    child.kill("SIGKILL");
    await this.#within(KILL_WAIT_MS, child.exited);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Starts the process and waits until it answers (S3). */
  async #launch(): Promise<void> {
    const { binary, port, monitorPort, syncInterval } = this.#options;
    const dataDir = resolve(this.#options.dataDir);
    const name = `berth-${randomUUID()}`;
    const configFile = join(dataDir, CONFIG_FILE);
    const logFile = join(dataDir, "nats-server.log");
    const storeDir = join(dataDir, "nats");
    await mkdir(storeDir, { recursive: true, mode: 0o700 });
    const text = formatServerConfig({
      name,
      port,
      monitorPort,
      storeDir,
      syncInterval: syncInterval ?? SYNC_INTERVAL,
      logFile,
      pidFile: join(dataDir, PID_FILE),
      access: this.#options.access?.() ?? [],
    });
    await writeFile(`${configFile}.draft`, text, { mode: 0o600 });
    await rename(`${configFile}.draft`, configFile);
    const child = startTethered(binary, ["-c", configFile], join(dataDir, "nats.lock"));
    this.#child = child;
    await this.#untilReady(child, name, logFile);
  }

  async #untilReady(child: TetheredChild, name: string, logFile: string): Promise<void> {
    const { clock } = this.#ports;
    const deadline = clock.monotonic() + (this.#options.readyTimeoutMs ?? READY_TIMEOUT_MS);
    while (!this.#stopping.signal.aborted) {
      if (child.hasExited()) throw await exitError(child, logFile);
      const info = await readServerInfo(this.#options.port);
      if (info?.serverName === name) {
        this.#version = info.version;
        return;
      }
      if (clock.monotonic() > deadline) {
        child.kill("SIGKILL");
        throw new BerthError("broker.unavailable", "nats-server did not become ready in time");
      }
      await clock.sleep(POLL_MS, this.#stopping.signal);
    }
  }

  /** S2. */
  async #supervise(): Promise<void> {
    const { clock, logger } = this.#ports;
    let pauseMs = BACKOFF_FIRST_MS;
    while (!this.#stopping.signal.aborted && this.#child) {
      const startedAt = clock.monotonic();
      const exit = await this.#child.exited;
      if (this.#stopping.signal.aborted) return;
      if (clock.monotonic() - startedAt > STABLE_MS) pauseMs = BACKOFF_FIRST_MS;
      logger.warn({ ...exit, pauseMs, restarts: this.#restarts }, "nats-server died, restarting");
      await clock.sleep(pauseMs, this.#stopping.signal);
      if (this.#stopping.signal.aborted) return;
      pauseMs = Math.min(pauseMs * 2, BACKOFF_MAX_MS);
      this.#restarts += 1;
      await this.#launch().then(
        () => logger.info({ pid: this.pid, restarts: this.#restarts }, "nats-server is back"),
        (error: unknown) => logger.error({ err: error }, "nats-server did not start"),
      );
    }
  }

  /** Resolves when `promise` does or the time is over. */
  async #within(ms: number, promise: Promise<unknown>): Promise<void> {
    const timer = new AbortController();
    await Promise.race([promise, this.#ports.clock.sleep(ms, timer.signal)]);
    timer.abort();
  }
}

async function exitError(child: TetheredChild, logFile: string): Promise<BerthError> {
  const { code } = await child.exited;
  if (code === LOCKED_EXIT_CODE) {
    return new BerthError("setup.in_use", "another Berth runs on this data directory");
  }
  const log = await readFile(logFile, "utf8").catch(() => "");
  const words = log.split("\n").findLast((line) => line.includes("[FTL]")) ?? child.said();
  return new BerthError("broker.unavailable", `nats-server ended with code ${code}: ${words}`);
}
