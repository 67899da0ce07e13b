/**
 * A port that passes bytes on to another one, until told to behave as a broken network.
 *
 * Invariants:
 * T1 While `silent`, no byte passes in either direction and no end of a connection is told: as a cable that is out.
 *    What was sent meanwhile arrives when the cut heals, as TCP sends it again.
 * T2 While `reset`, every connection is broken at once and new ones are broken as they come.
 * T3 A delayed byte arrives in its order, before the end of its connection is told, and also when a cut comes meanwhile.
 * T4 `close` leaves no socket behind.
 */
import { once } from "node:events";
import {
  type AddressInfo,
  createConnection,
  createServer,
  type Server,
  type Socket,
} from "node:net";
import { systemClock } from "../../runtime/clock.ts";

export type Cut = "silent" | "reset";

interface Pair {
  readonly near: Socket;
  readonly far: Socket;
}

const HOST = "127.0.0.1";

export class TcpProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #targetPort: number;
  readonly #pairs = new Set<Pair>();
  #cut: Cut | undefined;
  #delayMs = 0;

  private constructor(server: Server, targetPort: number) {
    this.#server = server;
    this.#targetPort = targetPort;
    server.on("connection", (near) => this.#accept(near));
  }

  /** Listens on a free port, of loopback unless it is told otherwise. */
  static async start(targetPort: number, host: string = HOST): Promise<TcpProxy> {
    const server = createServer();
    const proxy = new TcpProxy(server, targetPort);
    server.listen({ port: 0, host });
    await once(server, "listening");
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  cut(how: Cut): void {
    this.#cut = how;
    for (const { near, far } of this.#pairs) {
      if (how === "silent") {
        near.pause();
        far.pause();
      } else reset(near, far);
    }
  }

  /** From now on each byte takes so much longer, in either direction (T3). */
  delay(ms: number): void {
    this.#delayMs = ms;
  }

  heal(): void {
    this.#cut = undefined;
    for (const { near, far } of this.#pairs) {
      // An end that came while nothing passed is told now.
      if (near.destroyed || far.destroyed) reset(near, far);
      near.resume();
      far.resume();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const { near, far } of this.#pairs) reset(near, far);
    await closed;
  }

  #accept(near: Socket): void {
    if (this.#cut === "reset") {
      near.on("error", () => {});
      near.resetAndDestroy();
      return;
    }
    const far = createConnection({ port: this.#targetPort, host: HOST });
    const pair = { near, far };
    this.#pairs.add(pair);
    this.#carry(pair, near, far);
    this.#carry(pair, far, near);
    if (this.#cut === "silent") {
      near.pause();
      far.pause();
    }
  }

  #carry(pair: Pair, from: Socket, to: Socket): void {
    from.setNoDelay(true);
    let last = Promise.resolve();
    /** T3: behind all that came before, also when the delay has become shorter meanwhile. */
    const inOrder = (act: () => void) => {
      const due = this.#delayMs > 0 ? systemClock.sleep(this.#delayMs) : undefined;
      last = last.then(() => due).then(act);
    };
    from.on("data", (bytes) => {
      inOrder(() => {
        if (!to.destroyed && !to.write(bytes)) from.pause();
      });
    });
    to.on("drain", () => {
      if (this.#cut === undefined) from.resume();
    });
    from.on("error", () => {});
    from.on("close", () => {
      inOrder(() => {
        if (this.#cut !== "silent") to.destroySoon(); // T1
        if (to.destroyed) this.#pairs.delete(pair);
      });
    });
  }
}

function reset(...sockets: Socket[]): void {
  for (const socket of sockets) if (!socket.destroyed) socket.resetAndDestroy();
}
