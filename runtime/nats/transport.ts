/** One connection to NATS with all the runtime's ports on it. */
import { type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { BerthError } from "../../protocols/errors.ts";
import type { BrokerCredential, BrokerTls } from "../../protocols/executor.ts";
import type { Clock } from "../clock.ts";
import { NODE_INBOX } from "../isolation/nats-permissions.ts";
import type { Logger } from "../logger.ts";
import { tlsOptions } from "../nats-auth/broker-tls.ts";
import { authenticatorOf } from "../nats-auth/credential.ts";
import type { Transport } from "../transport.ts";
import { natsAuditStore } from "./audit-store.ts";
import { natsBuckets } from "./buckets.ts";
import { natsBus } from "./bus.ts";
import { natsDeadLetters } from "./dead-letters.ts";
import { fromNats } from "./errors.ts";
import { InFlight } from "./in-flight.ts";
import { natsMailboxes } from "./mailboxes.ts";
import { Publisher } from "./publisher.ts";
import { QuorumWatch } from "./quorum-watch.ts";
import { natsRecords } from "./records.ts";
import { Requests } from "./requests.ts";
import { Sender } from "./sender.ts";
import { ServerChoice } from "./server-choice.ts";
import { ensureTopology, existingTopology, type TopologyOptions } from "./topology.ts";

export interface NatsOptions {
  /** One or several URLs: of several, no other server is ever tried. User and password may stand in them and are never logged. */
  readonly url: string;
  readonly name: string;
  /** Asked at every connect, so that a newer one counts; absent: what stands in the URL, or nothing. */
  readonly credential?: (() => BrokerCredential) | undefined;
  /** Absent: no TLS, unless the server insists; then by the authorities that Node knows. */
  readonly tls?: BrokerTls | undefined;
  /** Of the subjects on which answers come (default: that of nodes). */
  readonly inboxPrefix?: string | undefined;
  /**
   * `existing`: of streams that nodes have made, or are about to make. `none`: nothing is made or looked for; there are no
   * partitions, and only buckets that are there and the connection are of use.
   */
  readonly topology: TopologyOptions | "existing" | "none";
  readonly logger: Logger;
  readonly clock: Clock;
}

/** The ports, and the connection beneath them for what has no port (micro services). */
export interface NatsTransport extends Transport {
  readonly connection: NatsConnection;
}

/** JetStream answers "not enabled" while a server starts or elects; asked again for this long. */
const READY_ATTEMPTS = 40;
const READY_PAUSE_MS = 250;
const MIN_VERSION = [2, 12] as const;

/** Connects, checks the server's version, makes the streams. Reconnects for ever; `close` ends it. */
export async function connectNats(options: NatsOptions): Promise<NatsTransport> {
  const servers = options.url.split(",").map((part) => new URL(part.trim()));
  const choice = new ServerChoice(servers.map(({ host }) => host));
  const nc = await dial(options, servers, choice);
  try {
    requireVersion(nc);
    const jsm = await retryUntilReady(options.clock, () =>
      jetstreamManager(nc, { timeout: 5_000 }),
    );
    const js = jetstream(nc, { timeout: 5_000 });
    const { logger, clock, topology } = options;
    const { partitions } = await retryUntilReady(clock, () => topologyOf(jsm, topology));
    const listeners = new Set<() => void>();
    const inFlight = new InFlight();
    const direct = { jsm, inFlight, clock };
    const sender = new Sender(nc);
    const quorum = new QuorumWatch({ clock, leave: () => leaveServer(nc, sender, logger) });
    const inboxPrefix = options.inboxPrefix ?? NODE_INBOX;
    const requests = new Requests({ connection: nc, sender, clock, quorum, inboxPrefix });
    const publisher = new Publisher(requests, quorum);
    const lost = () => {
      sender.disconnected();
      inFlight.fail();
      requests.disconnected();
      quorum.disconnected();
    };
    const back = () => {
      sender.reconnected();
      choice.connected(nc);
    };
    followStatus(nc, { logger, listeners, lost, back });
    const onReconnect = (fn: () => void) => {
      listeners.add(fn);
      return () => listeners.delete(fn);
    };
    const mailboxes = natsMailboxes({
      connection: nc,
      js,
      jsm,
      inFlight,
      publisher,
      sender,
      clock,
      partitions,
    });
    const buckets = natsBuckets({ js, jsm, inFlight, publisher, clock, logger, onReconnect });
    return {
      connection: nc,
      partitions,
      records: natsRecords({ ...direct, js, partitions, publisher }),
      mailboxes,
      bus: natsBus({ connection: nc, requests, sender }),
      buckets,
      deadLetters: natsDeadLetters({ ...direct, mailboxes, buckets }),
      audit: natsAuditStore({ ...direct, publisher }),
      onReconnect,
      async close() {
        sender.flush();
        await nc.close();
      },
    };
  } catch (thrown) {
    await nc.close();
    throw thrown instanceof BerthError ? thrown : fromNats(thrown);
  }
}

async function topologyOf(
  jsm: JetStreamManager,
  topology: NatsOptions["topology"],
): Promise<{ readonly partitions: number }> {
  if (topology === "none") return { partitions: 0 };
  return topology === "existing"
    ? await existingTopology(jsm)
    : await ensureTopology(jsm, topology);
}

async function dial(
  { name, credential, tls, inboxPrefix = NODE_INBOX }: NatsOptions,
  servers: readonly URL[],
  choice: ServerChoice,
): Promise<NatsConnection> {
  const [first] = servers;
  try {
    const nc = await connect({
      servers: servers.map(({ host }) => host),
      reconnectToServer: choice.next,
      name,
      inboxPrefix,
      ...(credential ? { authenticator: authenticatorOf(credential) } : {}),
      ...(tls ? { tls: tlsOptions(tls) } : {}),
      ...(first?.username ? { user: decodeURIComponent(first.username) } : {}),
      ...(first?.password ? { pass: decodeURIComponent(first.password) } : {}),
      // Servers tell of all their addresses, also of those that nobody reaches from here.
      ignoreClusterUpdates: servers.length > 1,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 200,
      reconnectJitter: 100,
      pingInterval: 5_000,
      maxPingOut: 2,
      timeout: 5_000,
      // A stack for each request costs more than the request.
      noAsyncTraces: true,
    });
    choice.complete(nc);
    return nc;
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw new BerthError("broker.unavailable", `cannot connect to ${first?.host}: ${reason}`, {
      cause: thrown,
    });
  }
}

function requireVersion(nc: NatsConnection): void {
  const version = nc.info?.version ?? "0.0";
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > MIN_VERSION[0] || (major === MIN_VERSION[0] && minor >= MIN_VERSION[1])) return;
  throw new BerthError(
    "broker.not_found",
    `nats-server ${version} is too old; ${MIN_VERSION.join(".")} or newer is needed`,
  );
}

async function retryUntilReady<T>(clock: Clock, attempt: () => Promise<T>): Promise<T> {
  for (let n = 1; ; n += 1) {
    try {
      return await attempt();
    } catch (thrown) {
      const isLasting = thrown instanceof BerthError && thrown.code !== "broker.unavailable";
      if (isLasting || n >= READY_ATTEMPTS) throw thrown;
      await clock.sleep(READY_PAUSE_MS);
    }
  }
}

/** To another server of its cluster; a server by itself is stayed with. */
function leaveServer(nc: NatsConnection, sender: Sender, logger: Logger): void {
  if (nc.getServers().length < 2 || nc.isClosed() || !sender.isConnected) return;
  logger.warn({ server: nc.getServer() }, "the server reaches no quorum; going to another");
  nc.reconnect().catch(() => undefined);
}

function followStatus(
  nc: NatsConnection,
  parts: {
    readonly logger: Logger;
    readonly listeners: ReadonlySet<() => void>;
    readonly lost: () => void;
    readonly back: () => void;
  },
): void {
  const { back, logger, listeners, lost } = parts;
  const follow = async () => {
    for await (const status of nc.status()) {
      if (status.type === "reconnect") {
        back();
        logger.info({}, "connected to the broker again");
        for (const listener of listeners) listener();
      } else if (status.type === "disconnect") {
        logger.warn({}, "lost the broker; reconnecting");
        lost();
      }
    }
  };
  follow().catch((thrown: unknown) => logger.error({ err: thrown }, "connection status ended"));
}
