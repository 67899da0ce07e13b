/** What a gateway is configured with. The composition root reads the environment; here are only values. */
import type { PublishedKeysOptions } from "./auth/published-keys.ts";
import type { TlsSource } from "./listener.ts";

export interface JwtConfig {
  /** HS256 with a shared secret, or the keys of a JWKS. */
  readonly secret?: string;
  /** The secret before, while tokens that it signed are still about. */
  readonly previousSecret?: string;
  /** How long fetched keys of a JWKS count. */
  readonly published?: PublishedKeysOptions;
  readonly jwksUrl?: string;
  readonly issuer?: string;
  readonly audience?: string;
  /** Clock difference that is forgiven (default 5 s). */
  readonly skewMs?: number;
}

export interface GatewayConfig {
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  readonly metricsPort: number;
  /** Where metrics listen (default `host`). */
  readonly metricsHost?: string;
  /** The API by TLS; whoever called by it comes back by it alone. */
  readonly tls?: TlsSource;
  /** Metrics by TLS. */
  readonly metricsTls?: TlsSource;
  readonly version: string;
  readonly jwt?: JwtConfig;
  /** Origins that browsers may call from; empty: only the gateway's own pages. */
  readonly corsOrigins?: readonly string[];
  /** Addresses and ranges whose `X-Forwarded-For` is believed; empty: none, and a connection is whom it comes from. */
  readonly trustedProxies?: readonly string[];
  /** Agents that jobs may name. */
  readonly agents: readonly string[];
  /** Directory of the dashboard's static files. */
  readonly dashboard?: string;
  readonly tuning?: Partial<Tuning>;
}

/** Limits and pauses. Tests shorten them; the defaults fit production. */
export interface Tuning {
  /** Largest HTTP body: a prompt of 256 KiB, each byte escaped, and its metadata. */
  readonly bodyBytes: number;
  readonly frameBytes: number;
  readonly heartbeatMs: number;
  /** Time a WebSocket has to authenticate, and to answer a ping. */
  readonly patienceMs: number;
  readonly maxSubscriptions: number;
  /** Unreadable frames before a WebSocket is closed. */
  readonly maxBadFrames: number;
  /** Client frames in work at once, per connection. */
  readonly maxPendingFrames: number;
  readonly maxStreams: number;
  /** Frames that were refused for their number before a WebSocket is closed. */
  readonly maxRefusedFrames: number;
  /** Connections of any kind. */
  readonly maxConnections: number;
  readonly headerBytes: number;
  /** From a connection's first byte, or the end of the request before, to the end of the headers; and of the whole request. */
  readonly headersMs: number;
  readonly requestMs: number;
  /** How often connections that are late are looked for. */
  readonly lateCheckMs: number;
  /** Requests without a valid credential from one address. */
  readonly strangersPerMinute: number;
  /** Bytes queued for a reader above which it gets nothing new. */
  readonly highWaterBytes: number;
  /** How long a reader may stay above the mark before it is cut. */
  readonly slowReaderMs: number;
  /** From a close to the end of the socket, for a peer that does not answer. */
  readonly closeGraceMs: number;
  /** How often a quiet live stream is compared with the log. */
  readonly verifyMs: number;
  readonly attachedMs: number;
  readonly askTimeoutMs: number;
  readonly drainMs: number;
  /** How long an id that was just made is waited for before it is not found. */
  readonly freshMs: number;
}

export const DEFAULT_TUNING: Tuning = {
  bodyBytes: 2 * 1024 ** 2,
  frameBytes: 2 * 1024 ** 2,
  heartbeatMs: 15_000,
  patienceMs: 10_000,
  maxSubscriptions: 64,
  maxBadFrames: 5,
  maxPendingFrames: 32,
  maxStreams: 10_000,
  maxRefusedFrames: 100,
  maxConnections: 20_000,
  headerBytes: 16 * 1024,
  headersMs: 10_000,
  requestMs: 60_000,
  lateCheckMs: 1_000,
  strangersPerMinute: 600,
  highWaterBytes: 1024 ** 2,
  slowReaderMs: 10_000,
  closeGraceMs: 2_000,
  verifyMs: 20_000,
  attachedMs: 60_000,
  askTimeoutMs: 5_000,
  drainMs: 10_000,
  freshMs: 2_000,
};
