/**
 * The one way out of workers' networks: an HTTP proxy that speaks CONNECT and plain requests, each connection for one.
 *
 * Invariants:
 * X1 Nothing is resolved or connected for a caller before the gate has admitted it (gate.ts).
 * X2 Connections, heads, the time for a head, the time to connect and silence are bounded.
 * X3 A slow side slows the other one (D1).
 * X4 What comes after the first request of a connection is no request.
 * X5 No tenant's workers, however many connections they open, shut out those of others (H1).
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { BROKER_PATH } from "../../protocols/brokered.ts";
import { asBerthError } from "../../protocols/errors.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { Metrics } from "../../runtime/metrics.ts";
import { joinSockets } from "../joined-sockets.ts";
import { answerOf, tell } from "./answers.ts";
import { ConnectionShares } from "./connection-shares.ts";
import { forward } from "./forward.ts";
import type { EgressGate } from "./gate.ts";
import { watchIdle } from "./idle-watch.ts";
import type { KeyBroker, Watch } from "./key-broker.ts";
import { refusal } from "./refusals.ts";

export interface ProxyLimits {
  /** Of all workers together; those of one tenant have a share of them. */
  readonly connections: number;
  readonly headBytes: number;
  readonly headMs: number;
  readonly idleMs: number;
  /** How often silence is looked for. */
  readonly checkMs: number;
}

const LIMITS: ProxyLimits = {
  connections: 4_096,
  headBytes: 16 * 1_024,
  headMs: 10_000,
  // Models think for minutes; their streams are seldom silent for as long.
  idleMs: 600_000,
  checkMs: 5_000,
};
const HTTP_PORT = 80;

export interface ProxyParts {
  readonly gate: EgressGate;
  /** Whose workers come in at a place, as the gate tells places; undefined: of nobody in particular, and it has a share of its own. */
  readonly tenantAt: (gateway: string) => string | undefined;
  /** Default: no keys are brokered. */
  readonly broker?: KeyBroker;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly limits?: Partial<ProxyLimits>;
}

export class EgressProxy {
  readonly #parts: ProxyParts;
  readonly #limits: ProxyLimits;
  readonly #server: Server;
  /** Ends the wait for a connection's first head. */
  readonly #waits = new WeakMap<Duplex, () => void>();
  readonly #shares: ConnectionShares;

  constructor(parts: ProxyParts) {
    this.#parts = parts;
    this.#limits = { ...LIMITS, ...parts.limits };
    this.#shares = new ConnectionShares(this.#limits.connections);
    this.#server = createServer({ maxHeaderSize: this.#limits.headBytes });
    this.#server.maxRequestsPerSocket = 1; // X4
    this.#server.on("request", (request, response) => {
      this.#pass(request, response).catch((thrown) => this.#failed(request.socket, thrown));
    });
    this.#server.on("connect", (request: IncomingMessage, near: Socket, head: Buffer) => {
      this.#tunnel(request, near, head).catch((thrown) => this.#failed(near, thrown));
    });
    this.#server.on("clientError", (error: NodeJS.ErrnoException, near: Socket) => {
      const isLong = error.code === "HPE_HEADER_OVERFLOW";
      if (near.writable && !near.destroyed)
        near.end(`HTTP/1.1 ${isLong ? 431 : 400} Refused\r\nConnection: close\r\n\r\n`);
      near.destroySoon();
    });
  }

  /** Takes a connection that a network's gateway got, of which nothing was read. */
  accept(near: Socket): void {
    const owner = this.#ownerOf(near);
    if (!this.#shares.tryTake(owner)) {
      near.resetAndDestroy(); // X2, X5
      return;
    }
    this.#tally();
    const cancel = this.#parts.clock.after(this.#limits.headMs, () => near.resetAndDestroy());
    this.#waits.set(near, cancel);
    near.once("close", () => {
      cancel();
      this.#shares.giveBack(owner);
      this.#tally();
    });
    this.#server.emit("connection", near);
    near.resume();
  }

  get connections(): number {
    return this.#shares.taken;
  }

  #ownerOf(near: Socket): string {
    const gateway = this.#parts.gate.placeOf(near);
    const tenant = this.#parts.tenantAt(gateway);
    return tenant === undefined ? `address ${gateway}` : `tenant ${tenant}`;
  }

  #tally(): void {
    this.#parts.metrics.gauge("berth_egress_open_connections", this.connections);
  }

  /** A mistake of ours costs one connection and not the node. */
  #failed(near: Socket, thrown: unknown): void {
    this.#parts.log.error({ err: asBerthError(thrown) }, "the proxy failed for one connection");
    near.resetAndDestroy();
  }

  /** False for all but the first request of a connection (X4). */
  #isFirst(near: Duplex): boolean {
    const cancel = this.#waits.get(near);
    this.#waits.delete(near);
    cancel?.();
    return cancel !== undefined;
  }

  async #tunnel(request: IncomingMessage, near: Socket, head: Buffer): Promise<void> {
    if (!this.#isFirst(near)) {
      near.resetAndDestroy();
      return;
    }
    const admitted = await this.#parts.gate.admit(
      { ...this.#askOf(request), authority: request.url ?? "" },
      untilClosed(near),
    );
    if ("status" in admitted) {
      near.end(answerOf(admitted));
      near.destroySoon();
      return;
    }
    const { far, isLive } = admitted;
    if (near.destroyed) {
      far.destroy();
      return;
    }
    near.write("HTTP/1.1 200 Connection established\r\n\r\n");
    if (head.length > 0) far.write(head);
    joinSockets(near, far); // X3
    this.#watch(near, far, isLive);
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const near = request.socket;
    if (!this.#isFirst(near)) {
      near.resetAndDestroy();
      return;
    }
    const { broker } = this.#parts;
    if (broker !== undefined && request.url?.startsWith(BROKER_PATH)) {
      const watch: Watch = (far, isLive) => this.#watch(near, far, isLive);
      await broker.serve(request, response, { signal: untilClosed(near), watch });
      return;
    }
    const url = tryParseUrl(request.url);
    if (url === undefined) {
      tell(response, refusal("malformed"));
      return;
    }
    const ask = { ...this.#askOf(request), authority: url.host, port: HTTP_PORT };
    const admitted = await this.#parts.gate.admit(ask, untilClosed(near));
    if ("status" in admitted) {
      tell(response, admitted);
      return;
    }
    const { far, isLive } = admitted;
    this.#watch(near, far, isLive);
    await forward({ request, response, far, path: `${url.pathname}${url.search}`, host: url.host });
  }

  #askOf({ headers, socket }: IncomingMessage) {
    const gateway = this.#parts.gate.placeOf(socket);
    return { gateway, credential: headers["proxy-authorization"] };
  }

  #watch(near: Socket, far: Socket, isLive: () => boolean): void {
    const { idleMs, checkMs } = this.#limits;
    watchIdle(near, far, { clock: this.#parts.clock, idleMs, checkMs, isLive });
  }
}

/** Of a request in the form that is for proxies. A secret in it would be the far host's: it is refused with the rest. */
function tryParseUrl(text: string | undefined): URL | undefined {
  if (text === undefined || !/^http:\/\//i.test(text) || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  return url.username === "" && url.password === "" ? url : undefined;
}

function untilClosed(near: Socket): AbortSignal {
  const closed = new AbortController();
  near.once("close", () => closed.abort());
  return closed.signal;
}
