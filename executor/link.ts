/**
 * The worker's connection to NATS: core request-reply only. It reconnects for ever; that nobody is there any more is
 * judged by `Contact`, not here.
 */
import { connect, type NatsConnection } from "@nats-io/transport-node";
import type { BrokerCredential, BrokerTls, WorkerStatus } from "../protocols/executor.ts";
import type { Logger } from "../runtime/logger.ts";
import { tlsOptions } from "../runtime/nats-auth/broker-tls.ts";
import { authenticatorOf, validityOf } from "../runtime/nats-auth/credential.ts";
import type { UplinkWire } from "./uplink.ts";

/** Followed by the worker's id where its credential is its own; else all workers share it, as the credential does. */
const INBOX_PREFIX = "_INBOX_worker";
const RECONNECT_PAUSE_MS = 100;
const PING_INTERVAL_MS = 5_000;

/** The answer to one message from a node. */
export type Answer = (data: Uint8Array) => Promise<Uint8Array>;

export interface LinkOptions {
  readonly url: string;
  /** The worker's id. */
  readonly name: string;
  /** Of the worker alone. */
  readonly credential?: BrokerCredential | undefined;
  readonly tls?: BrokerTls | undefined;
  readonly log: Logger;
}

interface Held {
  credential: BrokerCredential | undefined;
}

export class Link implements UplinkWire {
  readonly #nc: NatsConnection;
  readonly #current: Held;
  #back = new AbortController();

  private constructor(nc: NatsConnection, current: Held, log: Logger) {
    this.#nc = nc;
    this.#current = current;
    void this.#follow(log);
  }

  /** Resolves once connected; waits for a broker that is not there yet. */
  static async open({ url, name, credential, tls, log }: LinkOptions): Promise<Link> {
    const current = { credential };
    const nc = await connect({
      ...serversOf(url),
      name,
      ...(tls ? { tls: tlsOptions(tls) } : {}),
      ...(credential
        ? {
            authenticator: authenticatorOf(() => current.credential ?? credential),
            inboxPrefix: `${INBOX_PREFIX}.${name}`,
          }
        : { inboxPrefix: INBOX_PREFIX }),
      // Others of the servers' addresses are not for workers.
      ignoreClusterUpdates: true,
      maxReconnectAttempts: -1,
      reconnectTimeWait: RECONNECT_PAUSE_MS,
      waitOnFirstConnect: true,
      ignoreAuthErrorAbort: true,
      pingInterval: PING_INTERVAL_MS,
      noAsyncTraces: true,
    });
    return new Link(nc, current, log);
  }

  /**
   * Takes a newer credential, and connects again with it: the server closes a connection when the credential that it
   * was made with expires. What was under way is sent again, as after any loss.
   */
  async renew(credential: BrokerCredential): Promise<void> {
    this.#current.credential = credential;
    await this.#nc.flush();
    await this.#nc.reconnect();
  }

  /** Who signed the credential in use, and when that expires (milliseconds since the epoch). */
  get validity(): WorkerStatus["credential"] {
    const { credential } = this.#current;
    return credential && validityOf(credential);
  }

  reconnected = (): AbortSignal => this.#back.signal;

  async request(subject: string, data: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const { signal } = this.#back;
    const answer = this.#nc.request(subject, data, { timeout: timeoutMs });
    return await new Promise<Uint8Array>((resolve, reject) => {
      const onBack = () => reject(new Error("the connection was lost and is back"));
      signal.addEventListener("abort", onBack, { once: true });
      answer
        .then((message) => resolve(message.data), reject)
        .finally(() => {
          signal.removeEventListener("abort", onBack);
        });
    });
  }

  /** Serves a subject; resolves when the broker knows of it. */
  async serve(subject: string, answer: Answer): Promise<void> {
    this.#nc.subscribe(subject, {
      callback: (error, message) => {
        if (error) return;
        void answer(message.data).then((reply) => message.respond(reply));
      },
    });
    await this.#nc.flush();
  }

  get isConnected(): boolean {
    return this.#isUp && !this.#nc.isClosed();
  }

  #isUp = true;

  async close(): Promise<void> {
    if (!this.#nc.isClosed()) await this.#nc.close();
  }

  async #follow(log: Logger): Promise<void> {
    for await (const status of this.#nc.status()) {
      if (status.type === "disconnect") {
        this.#isUp = false;
        log.warn({}, "the connection to NATS is lost");
      } else if (status.type === "reconnect") {
        this.#isUp = true;
        log.info({}, "the connection to NATS is back");
        const back = this.#back;
        this.#back = new AbortController();
        back.abort();
      }
    }
  }
}

/** Takes user and password out of `nats://user:pass@a:4222,b:4222`: they are no part of a server's address. */
export function serversOf(url: string): { servers: string[]; user?: string; pass?: string } {
  const urls = url
    .split(",")
    .map((part) => new URL(part.includes("://") ? part : `nats://${part}`));
  const servers = urls.map((part) => part.host);
  const login = urls.find((part) => part.username !== "");
  if (login === undefined) return { servers };
  return {
    servers,
    user: decodeURIComponent(login.username),
    pass: decodeURIComponent(login.password),
  };
}
