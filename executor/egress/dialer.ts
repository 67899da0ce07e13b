/**
 * Connects to a name that is allowed.
 *
 * Invariants:
 * E1 The address that was judged is the address that is connected to: the name is not asked for again.
 * E2 An address that is silent takes its part of the time alone: those after it have theirs.
 */
import { isIP, type Socket, connect as tcpConnect } from "node:net";
import type { Clock } from "../../runtime/clock.ts";
import type { AddressScene } from "./address-class.ts";
import { decideAddresses, type EgressTarget } from "./decide-egress.ts";
import type { ResolveName } from "./resolver.ts";

export interface DialerParts {
  readonly resolve: ResolveName;
  /** As it is now: networks come and go. */
  readonly scene: () => AddressScene;
  readonly clock: Clock;
  /** From the question for the name to the connection. */
  readonly withinMs: number;
}

export type Dialled =
  | { readonly socket: Socket }
  | { readonly failure: "not_public" | "unresolved" | "unreachable" };

/** More addresses of one name are not tried. */
const MOST_ADDRESSES = 4;
const KEEP_ALIVE_MS = 30_000;

export class Dialer {
  readonly #parts: DialerParts;

  constructor(parts: DialerParts) {
    this.#parts = parts;
  }

  /** Never rejects; leaves no socket behind when it fails, or when `signal` aborts. */
  async dial(target: EgressTarget, allowPrivate: boolean, signal: AbortSignal): Promise<Dialled> {
    const { clock, scene, withinMs } = this.#parts;
    const end = clock.monotonic() + withinMs;
    const late = new AbortController();
    const cancel = clock.after(withinMs, () => late.abort());
    const until = AbortSignal.any([signal, late.signal]);
    try {
      const found = await this.#addresses(target.host, until);
      if (found === undefined) return { failure: "unresolved" };
      const allowed = decideAddresses(found, allowPrivate, scene());
      if (allowed.length === 0) return { failure: "not_public" };
      const hosts = allowed.slice(0, MOST_ADDRESSES);
      for (const [tried, host] of hosts.entries()) {
        const part = (end - clock.monotonic()) / (hosts.length - tried); // E2
        const socket = await this.#connect(host, target.port, { part, until }); // E1
        if (socket !== undefined) return { socket };
      }
      return { failure: "unreachable" };
    } finally {
      cancel();
    }
  }

  /** Undefined when nobody answers within `part` milliseconds. */
  async #connect(
    host: string,
    port: number,
    { part, until }: { readonly part: number; readonly until: AbortSignal },
  ): Promise<Socket | undefined> {
    const silent = new AbortController();
    const cancel = this.#parts.clock.after(part, () => silent.abort());
    try {
      return await connected(host, port, AbortSignal.any([until, silent.signal]));
    } finally {
      cancel();
    }
  }

  async #addresses(host: string, until: AbortSignal): Promise<readonly string[] | undefined> {
    if (isIP(host) !== 0) return [host];
    const aborted = new Promise<undefined>((resolve) => {
      until.addEventListener("abort", () => resolve(undefined), { once: true });
    });
    return await Promise.race([this.#parts.resolve(host).catch(() => undefined), aborted]);
  }
}

function connected(host: string, port: number, until: AbortSignal): Promise<Socket | undefined> {
  if (until.aborted) return Promise.resolve(undefined);
  const socket = tcpConnect({
    host,
    port,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
  });
  return new Promise((resolve) => {
    const stop = () => socket.destroy();
    until.addEventListener("abort", stop, { once: true });
    socket.on("error", () => {});
    socket.once("connect", () => {
      until.removeEventListener("abort", stop);
      resolve(socket);
    });
    socket.once("close", () => {
      until.removeEventListener("abort", stop);
      resolve(undefined);
    });
  });
}
