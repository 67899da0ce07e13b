/**
 * The port of the host by which a network's workers reach the broker: on the network's gateway. The broker then need not
 * listen where workers are, and workers need not know where it is.
 *
 * Invariants:
 * D1 and D2 are kept in `joined-sockets.ts`.
 * D3 Waiting to connect is bounded, and so are connections (doorway.ts).
 * D4 `close` leaves no socket and no timer behind.
 */
import { createConnection, type Socket } from "node:net";
import type { Clock } from "../../../runtime/clock.ts";
import type { Logger } from "../../../runtime/logger.ts";
import { joinSockets } from "../../joined-sockets.ts";
import { breakOff, Doorway, SOCKET } from "./doorway.ts";

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

export class Door implements AsyncDisposable {
  readonly host: string;
  readonly #options: DoorOptions;
  readonly #limits: DoorLimits;
  readonly #far = new Set<Socket>();
  #doorway: Doorway | undefined;

  private constructor(options: DoorOptions) {
    this.host = options.host;
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
  }

  /** Rejects with `driver.failed` when another process has the port, or the address is not this host's. */
  static async open(options: DoorOptions): Promise<Door> {
    const door = new Door(options);
    door.#doorway = await Doorway.open({
      ...options,
      ...door.#limits,
      purpose: "the broker",
      accept: (near) => void door.#relay(near),
    });
    return door;
  }

  /** Resolves when no socket of it is left; what workers had open is broken. */
  async close(): Promise<void> {
    const closed = this.#doorway?.close(); // D4
    for (const socket of this.#far) breakOff(socket);
    await closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #relay(near: Socket): Promise<void> {
    for (const target of this.#options.targets()) {
      const far = await this.#connect(target);
      if (near.destroyed) far?.destroy();
      if (near.destroyed) return;
      if (far === undefined) continue;
      joinSockets(near, far);
      return;
    }
    near.resetAndDestroy();
  }

  /** Undefined when it does not connect in time. */
  #connect(target: DoorTarget): Promise<Socket | undefined> {
    const far = createConnection({ ...SOCKET, ...target });
    this.#far.add(far);
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(this.#limits.connectMs, () => far.destroy()); // D3
      far.on("error", () => {});
      far.once("connect", () => {
        cancel();
        resolve(far);
      });
      far.once("close", () => {
        cancel();
        this.#far.delete(far);
        resolve(undefined);
      });
    });
  }
}
