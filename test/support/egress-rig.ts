/** A proxy as a node opens it, with a list of workers and of hosts that a test sets. */
import { networkInterfaces } from "node:os";
import { addressScenes } from "../../executor/egress/address-scenes.ts";
import { Dialer } from "../../executor/egress/dialer.ts";
import { type DeniedEgress, EgressGate, type EgressWorker } from "../../executor/egress/gate.ts";
import { KeyBroker, type KeyBrokerParts } from "../../executor/egress/key-broker.ts";
import { EgressProxy, type ProxyLimits, type ProxyParts } from "../../executor/egress/proxy.ts";
import type { ResolveName } from "../../executor/egress/resolver.ts";
import { EgressTokens } from "../../executor/egress/tokens.ts";
import { type EgressMode, type EgressPolicy, egressListSchema } from "../../protocols/egress.ts";
import type { Placeholder } from "../../protocols/placeholder.ts";
import { type Clock, systemClock } from "../../runtime/clock.ts";
import type { CredentialRequest } from "../../runtime/credential-source.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { noMetrics } from "../../runtime/metrics.ts";

export interface EgressRig {
  readonly proxy: EgressProxy;
  readonly workers: Map<string, EgressWorker>;
  readonly denied: DeniedEgress[];
  /** What was counted, as `decision/tier`. */
  readonly counted: string[];
  /** Names that were resolved. */
  readonly resolved: string[];
  /** From now on, for all workers. */
  allow(mode: EgressMode, ...hosts: readonly unknown[]): void;
  /** As a node makes it for a job of the user `ann`, of the worker `w1` if nothing else is said. */
  placeholder(provider: string, changes?: Partial<Placeholder>): string;
  /** Users' keys, by `tenant/user/provider`. */
  readonly keys: Map<string, string>;
  /** What each key was opened for. */
  readonly opened: CredentialRequest[];
  /** What happens before a key is given (default: nothing). */
  beforeKey: () => Promise<void>;
  /** Jobs that have ended. */
  readonly ended: Set<string>;
  /** Makes a worker known; the value of `Proxy-Authorization` by which it is. */
  admit(worker: string, gateway: string): string;
}

export function egressRig(options: {
  readonly resolve: ResolveName;
  readonly clock?: Clock;
  readonly limits?: Partial<ProxyLimits>;
  readonly providers?: KeyBrokerParts["providers"];
  readonly ca?: string;
  /** Default: nobody's network is known. */
  readonly tenantAt?: ProxyParts["tenantAt"];
}): EgressRig {
  const { clock = systemClock, limits = {}, providers = {}, ca } = options;
  const { tenantAt = () => undefined } = options;
  const keys = new Map<string, string>();
  const opened: CredentialRequest[] = [];
  const ended = new Set<string>();
  const workers = new Map<string, EgressWorker>();
  const tokens = new EgressTokens(Buffer.alloc(32, 7));
  const denied: DeniedEgress[] = [];
  const resolved: string[] = [];
  const counted: string[] = [];
  let policy: EgressPolicy = { mode: "listed", hosts: [] };
  const dialer = new Dialer({
    resolve: (name) => {
      resolved.push(name);
      return options.resolve(name);
    },
    scene: addressScenes({ workers: ["10.212.0.0/14"], own: hostAddresses, clock }),
    clock,
    withinMs: 2_000,
  });
  const gate = new EgressGate({
    tokens,
    workers: () => (worker) => workers.get(worker),
    policyOf: () => Promise.resolve(policy),
    dialer,
    clock,
    metrics: {
      ...noMetrics,
      count: (_, labels) => counted.push(`${labels?.["decision"]}/${labels?.["tier"]}`),
    },
    log: silentLogger,
    denied: (act) => denied.push(act),
  });
  const broker = new KeyBroker({
    gate,
    tokens,
    credentials: {
      async open(request) {
        opened.push(request);
        await rig.beforeKey();
        const { tenant, user, provider } = request;
        return keys.get(`${tenant}/${user}/${provider}`);
      },
    },
    isRunning: ({ job }) => Promise.resolve(!ended.has(job)),
    clock,
    log: silentLogger,
    providers,
    ...(ca === undefined ? {} : { ca }),
  });
  const rig: EgressRig = {
    proxy: new EgressProxy({
      ...{ gate, broker, tenantAt, clock, limits },
      metrics: noMetrics,
      log: silentLogger,
    }),
    keys,
    opened,
    ended,
    beforeKey: () => Promise.resolve(),
    placeholder: (provider, changes = {}) =>
      tokens.placeholder({
        worker: "w1",
        tenant: "acme",
        user: "ann",
        job: "job-1",
        attempt: 1,
        provider,
        expires_at: clock.now() + 60_000,
        ...changes,
      }),
    workers,
    denied,
    counted,
    resolved,
    allow(mode, ...hosts) {
      policy = { mode, hosts: egressListSchema.parse(hosts) };
    },
    admit(worker, gateway) {
      workers.set(worker, { spec: { worker, tenant: "acme", tier: "pro" }, gateway });
      return `Basic ${Buffer.from(`${worker}:${tokens.ofWorker(worker)}`).toString("base64")}`;
    },
  };
  return rig;
}

const hostAddresses = () =>
  Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address));
