/**
 * Who asks the proxy, and whether it gets what it asks for. Every answer is counted; what is refused is told to whoever
 * keeps a record of it, the same thing once a minute.
 */

import type { Socket } from "node:net";
import { type EgressPolicy, NO_EGRESS } from "../../protocols/egress.ts";
import { asBerthError } from "../../protocols/errors.ts";
import type { WorkerSpec } from "../../protocols/executor.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { Metrics } from "../../runtime/metrics.ts";
import { decideEgress, type EgressTarget, tryParseTarget } from "./decide-egress.ts";
import type { Dialer } from "./dialer.ts";
import { RecentActs } from "./recent-acts.ts";
import { type RefusalReason, type Refused, refusal } from "./refusals.ts";
import { type EgressTokens, tryParseCredential } from "./tokens.ts";

/** A worker as the proxy knows it. */
export interface EgressWorker {
  readonly spec: Pick<WorkerSpec, "worker" | "tenant" | "user" | "tier">;
  /** Where its connections come in: of a container the host's address in its network, of a pod its own. It comes by no other. */
  readonly gateway: string;
}

/** A connection that was refused. Without a path or a credential. */
export interface DeniedEgress {
  readonly worker: string;
  readonly tenant: string;
  readonly host: string;
  readonly port: number;
  readonly reason: string;
}

export interface GateParts {
  readonly tokens: EgressTokens;
  /** Undefined while the node does not know its workers yet. */
  readonly workers: () => ((worker: string) => EgressWorker | undefined) | undefined;
  /** Where a connection comes in, to be compared with its worker's. Default: the host's address to which it came. */
  readonly placeOf?: (near: Socket) => string;
  readonly policyOf: (spec: EgressWorker["spec"]) => Promise<EgressPolicy>;
  readonly dialer: Dialer;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Default: nobody is told. */
  readonly denied?: (act: DeniedEgress) => void;
}

/** What a request says of itself. */
export interface EgressAsk {
  /** Where it came in. */
  readonly gateway: string;
  readonly credential: string | undefined;
  /** `host:port`; the port may be left out where `port` is the usual one. */
  readonly authority: string;
  readonly port?: number;
}

export interface Admitted {
  readonly target: EgressTarget;
  readonly far: Socket;
  /** Whether its worker still lives. */
  readonly isLive: () => boolean;
}

export class EgressGate {
  readonly #parts: GateParts;
  readonly #recent: RecentActs;

  constructor(parts: GateParts) {
    this.#parts = parts;
    this.#recent = new RecentActs(parts.clock);
  }

  placeOf(near: Socket): string {
    return this.#parts.placeOf?.(near) ?? near.localAddress ?? "";
  }

  /** Never rejects. `signal` aborts when nobody waits any more. */
  async admit(ask: EgressAsk, signal: AbortSignal): Promise<Admitted | Refused> {
    const worker = this.#identify(ask);
    if ("status" in worker) return worker;
    const target = tryParseTarget(ask.authority, ask.port);
    if (target === undefined) return this.refused("malformed", worker);
    return await this.reach(worker, target, signal);
  }

  /** Connects for a worker that is known, if its policy allows it. Never rejects. */
  async reach(
    worker: EgressWorker,
    target: EgressTarget,
    signal: AbortSignal,
    decision = "allowed",
  ): Promise<Admitted | Refused> {
    const { dialer, log } = this.#parts;
    const { worker: id, tier } = worker.spec;
    const judged = decideEgress(await this.#policy(worker), target);
    if (!judged.isAllowed) return this.refused(judged.refusal, worker, target);
    const dialled = await dialer.dial(target, judged.allowPrivate, signal);
    if ("failure" in dialled) return this.refused(dialled.failure, worker, target);
    this.#tally(decision, tier);
    log.debug({ worker: id, ...target, decision }, "a worker's way out");
    return { target, far: dialled.socket, isLive: () => this.#find(id) !== undefined };
  }

  /** A worker that lives and came by its own network. */
  find(worker: string, gateway: string): EgressWorker | undefined {
    const found = this.#find(worker);
    return found?.gateway === gateway ? found : undefined;
  }

  /** Counts a refusal; tells of it, too, when it is known who was refused what. */
  refused(reason: RefusalReason, worker?: EgressWorker, target?: EgressTarget): Refused {
    const made = refusal(reason, target);
    this.#tally(reason, worker?.spec.tier ?? "none");
    if (worker !== undefined && target !== undefined) this.#tell(made, worker, target);
    return made;
  }

  /** False while the node does not know its workers yet. */
  get isReady(): boolean {
    return this.#parts.workers() !== undefined;
  }

  /** The worker whose credential this is, if it came by that worker's own network. */
  #identify({ credential, gateway }: EgressAsk): EgressWorker | Refused {
    if (!this.isReady) return this.refused("starting");
    const shown = tryParseCredential(credential);
    if (shown === undefined) return this.refused("unauthenticated");
    const isGenuine = this.#parts.tokens.isOfWorker(shown.worker, shown.token);
    const worker = this.find(shown.worker, gateway);
    return isGenuine && worker !== undefined ? worker : this.refused("unauthenticated");
  }

  #find(worker: string): EgressWorker | undefined {
    return this.#parts.workers()?.(worker);
  }

  /** What cannot be looked up allows nothing. */
  async #policy({ spec }: EgressWorker): Promise<EgressPolicy> {
    try {
      return await this.#parts.policyOf(spec);
    } catch (thrown) {
      const err = asBerthError(thrown);
      this.#parts.log.warn({ err, tenant: spec.tenant }, "the hosts of a tenant are not known");
      return NO_EGRESS;
    }
  }

  #tell({ reason, isDenial }: Refused, { spec }: EgressWorker, target: EgressTarget): void {
    const { worker, tenant } = spec;
    const act: DeniedEgress = { worker, tenant, ...target, reason };
    if (!this.#recent.isNew(worker, `${target.host}:${target.port} ${reason}`)) return;
    this.#parts.log.info(act, "a worker's way out was refused");
    if (isDenial) this.#parts.denied?.(act);
  }

  #tally(decision: string, tier: string): void {
    this.#parts.metrics.count("berth_egress_connections_total", { decision, tier });
  }
}
