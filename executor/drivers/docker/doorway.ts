/**
 * A port of the host that a network's workers reach: on the network's gateway. What comes in is counted and handed on.
 *
 * Invariants:
 * D3 Connections are bounded, those of one worker more tightly than all.
 * D4 `close` leaves no socket behind.
 */
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { asBerthError, BerthError } from "../../../protocols/errors.ts";
import type { Logger } from "../../../runtime/logger.ts";

export interface DoorwayOptions {
  readonly host: string;
  readonly port: number;
  /** As it is told when the port cannot be had. */
  readonly purpose: string;
  readonly connections: number;
  /** Of one address. */
  readonly perWorker: number;
  /** Gets a socket from which nothing was read. */
  readonly accept: (near: Socket) => void;
  readonly log: Logger;
}

/** A worker that vanished without a word is noticed by the kernel. */
const KEEP_ALIVE_MS = 30_000;
export const SOCKET = {
  allowHalfOpen: true,
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: KEEP_ALIVE_MS,
} as const;

export class Doorway implements AsyncDisposable {
  readonly host: string;
  readonly #options: DoorwayOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #perWorker = new Map<string, number>();
  #connections = 0;
  #closing: Promise<void> | undefined;

  private constructor(options: DoorwayOptions) {
    this.host = options.host;
    this.#options = options;
    this.#server = createServer({ ...SOCKET, pauseOnConnect: true }, (near) => this.#accept(near));
  }

  /** Rejects with `driver.failed` when another process has the port, or the address is not this host's. */
  static async open(options: DoorwayOptions): Promise<Doorway> {
    const doorway = new Doorway(options);
    const { host, port } = options;
    doorway.#server.listen({ host, port, exclusive: true });
    try {
      await once(doorway.#server, "listening");
    } catch (thrown) {
      throw refusalOf(thrown, options);
    }
    doorway.#server.on("error", (error) => options.log.warn({ host, error }, "a door failed"));
    return doorway;
  }

  /** Resolves when no socket of it is left; what workers had open is broken. */
  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#server.close(() => resolve());
      for (const socket of this.#sockets) breakOff(socket);
    });
    return this.#closing; // D4
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #accept(near: Socket): void {
    const { connections, perWorker, log } = this.#options;
    const worker = near.remoteAddress ?? "";
    const own = this.#perWorker.get(worker) ?? 0;
    near.on("error", () => {}); // "close" follows and says all.
    if (this.#connections >= connections || own >= perWorker) {
      log.debug({ worker, own }, "a worker has too many connections"); // D3
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
    this.#options.accept(near);
  }
}

/** A reset of one that still connects would wait until it has. */
export function breakOff(socket: Socket): void {
  if (socket.connecting) socket.destroy();
  else socket.resetAndDestroy();
}

function refusalOf(thrown: unknown, { host, port, purpose }: DoorwayOptions): BerthError {
  const { code } = thrown as NodeJS.ErrnoException;
  const cause = { cause: thrown };
  if (code === "EADDRINUSE") {
    const message = `port ${port} of ${host}, where workers find ${purpose}, is taken by another process`;
    return new BerthError("driver.failed", message, cause);
  }
  if (code === "EADDRNOTAVAIL") {
    const message = `${host} is no address of this host: the engine's networks are elsewhere`;
    return new BerthError("driver.failed", message, cause);
  }
  return asBerthError(thrown, "driver.failed");
}
