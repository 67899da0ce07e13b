/**
 * The one port of the host that a network's workers reach: on the network's gateway, and it leads to the broker. The
 * broker then need not listen where workers are, and workers need not know where it is.
 *
 * Invariants:
 * D1 A slow side slows the other one: no more of a connection is held than the sockets' own buffers.
 * D2 An end of one direction passes and the other direction goes on; a broken connection breaks its other half.
 * D3 Waiting to connect is bounded, and so are connections, those of one worker more tightly than all.
 * D4 `close` leaves no socket and no timer behind.
 */
import { once } from "node:events";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { asBerthError, BerthError } from "../../../protocols/errors.ts";
import type { Clock } from "../../../runtime/clock.ts";
import type { Logger } from "../../../runtime/logger.ts";

export interface DoorTarget {
  readonly host: string;
  readonly port: number;
}

export interface DoorOptions {
  readonly host: string;
  readonly port: number;
  /** Asked for each connection; the first that connects is taken. */
  readonly targets: () => readonly DoorTarget[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits?: Partial<DoorLimits>;
}

export interface DoorLimits {
  readonly connectMs: number;
  readonly connections: number;
  /** Of one address. A worker needs one, and another while it believes in one that is dead. */
  readonly perWorker: number;
}

const LIMITS: DoorLimits = { connectMs: 2_000, connections: 1_024, perWorker: 16 };
/** A worker that vanished without a word is noticed by the kernel. */
const KEEP_ALIVE_MS = 30_000;
const SOCKET = {
  allowHalfOpen: true,
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: KEEP_ALIVE_MS,
} as const;

export class Door implements AsyncDisposable {
  readonly host: string;
  readonly #options: DoorOptions;
  readonly #limits: DoorLimits;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #perWorker = new Map<string, number>();
  #connections = 0;
  #closing: Promise<void> | undefined;

  private constructor(options: DoorOptions) {
    this.host = options.host;
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#server = createServer({ ...SOCKET, pauseOnConnect: true }, (near) => this.#accept(near));
  }

  /** Rejects with `driver.failed` when another process has the port, or the address is not this host's. */
  static async open(options: DoorOptions): Promise<Door> {
    const door = new Door(options);
    const { host, port } = options;
    door.#server.listen({ host, port, exclusive: true });
    try {
      await once(door.#server, "listening");
    } catch (thrown) {
      throw refusalOf(thrown, options);
    }
    door.#server.on("error", (error) => options.log.warn({ host, error }, "a door failed"));
    return door;
  }

  /** Resolves when no socket of it is left; what workers had open is broken. */
  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#server.close(() => resolve());
      for (const socket of this.#sockets) {
        // A reset of one that still connects would wait until it has.
        if (socket.connecting) socket.destroy();
        else socket.resetAndDestroy();
      }
    });
    return this.#closing; // D4
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #accept(near: Socket): void {
    const worker = near.remoteAddress ?? "";
    const own = this.#perWorker.get(worker) ?? 0;
    near.on("error", () => {}); // "close" follows and says all.
    if (this.#connections >= this.#limits.connections || own >= this.#limits.perWorker) {
      this.#options.log.debug({ worker, own }, "a worker has too many connections"); // D3
      near.resetAndDestroy();
      return;
    }
    this.#connections += 1;
    this.#perWorker.set(worker, own + 1);
    this.#sockets.add(near);
    near.once("close", () => {
      this.#sockets.delete(near);
      this.#connections -= 1;
      const left = (this.#perWorker.get(worker) ?? 1) - 1;
      if (left === 0) this.#perWorker.delete(worker);
      else this.#perWorker.set(worker, left);
    });
    void this.#relay(near);
  }

  async #relay(near: Socket): Promise<void> {
    for (const target of this.#options.targets()) {
      const far = await this.#connect(target);
      if (near.destroyed) far?.destroy();
      if (near.destroyed) return;
      if (far === undefined) continue;
      join(near, far);
      return;
    }
    near.resetAndDestroy();
  }

  /** Undefined when it does not connect in time. */
  #connect(target: DoorTarget): Promise<Socket | undefined> {
    const far = createConnection({ ...SOCKET, ...target });
    this.#sockets.add(far);
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(this.#limits.connectMs, () => far.destroy()); // D3
      far.on("error", () => {});
      far.once("connect", () => {
        cancel();
        resolve(far);
      });
      far.once("close", () => {
        cancel();
        this.#sockets.delete(far);
        resolve(undefined);
      });
    });
  }
}

function join(near: Socket, far: Socket): void {
  for (const [from, to] of [
    [near, far],
    [far, near],
  ] as const) {
    from.pipe(to); // D1, and D2: it ends `to` when `from` has ended.
    from.once("close", (isBroken) => {
      if (isBroken) to.resetAndDestroy();
      else to.destroySoon(); // After what is still to be written.
    });
  }
}

function refusalOf(thrown: unknown, { host, port }: DoorOptions): BerthError {
  const { code } = thrown as NodeJS.ErrnoException;
  const cause = { cause: thrown };
  if (code === "EADDRINUSE") {
    const message = `port ${port} of ${host}, where workers find the broker, is taken by another process`;
    return new BerthError("driver.failed", message, cause);
  }
  if (code === "EADDRNOTAVAIL") {
    const message = `${host} is no address of this host: the engine's networks are elsewhere`;
    return new BerthError("driver.failed", message, cause);
  }
  return asBerthError(thrown, "driver.failed");
}
