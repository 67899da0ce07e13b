/** The system account's connection: tells the server of accounts. Reconnects for ever; `close` ends it. */
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { BerthError } from "../../protocols/errors.ts";
import type { BrokerCredential, BrokerTls } from "../../protocols/executor.ts";
import type { ClaimsServer } from "../nats-auth/account-publisher.ts";
import { tlsOptions } from "../nats-auth/broker-tls.ts";
import { authenticatorOf } from "../nats-auth/credential.ts";
import { fromNats } from "./errors.ts";

export interface SystemAccount extends ClaimsServer {
  /** Of the process of the server that answers: another one after a restart. */
  serverId(): Promise<string>;
  close(): Promise<void>;
}

const ANSWER_MS = 5_000;
const CONNECT_MS = 5_000;

export async function systemAccountServer(options: {
  readonly url: string;
  readonly name: string;
  readonly credential: () => BrokerCredential;
  readonly tls?: BrokerTls | undefined;
}): Promise<SystemAccount> {
  const servers = options.url.split(",").map((part) => new URL(part.trim()).host);
  const nc = await connect({
    servers,
    name: options.name,
    authenticator: authenticatorOf(options.credential),
    ...(options.tls ? { tls: tlsOptions(options.tls) } : {}),
    inboxPrefix: "_INBOX_system",
    maxReconnectAttempts: -1,
    reconnectTimeWait: 200,
    // The library's own are 20 s to connect and minutes to notice a server that stands still: as long would a revocation wait.
    timeout: CONNECT_MS,
    pingInterval: 5_000,
    maxPingOut: 2,
    // Servers tell of all their addresses, also of those that nobody reaches from here; all that are to be tried are named.
    ignoreClusterUpdates: servers.length > 1,
    ignoreAuthErrorAbort: true,
    noAsyncTraces: true,
  }).catch((thrown: unknown) => {
    throw fromNats(thrown);
  });
  return {
    push: (token) => change(nc, "$SYS.REQ.CLAIMS.UPDATE", token),
    remove: (token) => change(nc, "$SYS.REQ.CLAIMS.DELETE", token),
    async lookup(account) {
      const token = await ask(nc, `$SYS.REQ.ACCOUNT.${account}.CLAIMS.LOOKUP`, "");
      return token === "" ? undefined : token;
    },
    async list() {
      const answer = JSON.parse(await ask(nc, "$SYS.REQ.CLAIMS.LIST", "")) as {
        readonly data?: readonly string[];
      };
      return answer.data ?? [];
    },
    async serverId() {
      const answer = JSON.parse(await ask(nc, "$SYS.REQ.SERVER.PING", "")) as {
        readonly server: { readonly id: string };
      };
      return answer.server.id;
    },
    close: () => nc.close(),
  };
}

async function change(nc: NatsConnection, subject: string, token: string): Promise<void> {
  const answer = JSON.parse(await ask(nc, subject, token)) as {
    readonly error?: { readonly description?: string };
  };
  if (answer.error === undefined) return;
  const reason = answer.error.description ?? "no reason given";
  throw new BerthError("broker.unavailable", `the broker refused: ${reason}`);
}

async function ask(nc: NatsConnection, subject: string, data: string): Promise<string> {
  try {
    return (await nc.request(subject, data, { timeout: ANSWER_MS })).string();
  } catch (thrown) {
    throw fromNats(thrown);
  }
}
