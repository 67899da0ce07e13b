/**
 * A worker's jobs. Invariants:
 * X1 an attempt runs once, however often it is ordered; one that is older than what the worker has seen is refused.
 * X2 a slot is free as soon as the attempt's processes are gone, while its last frames may still be on their way.
 * X3 a worker that could not clean up after an attempt takes no other.
 * X4 an attempt that holds keys runs beside attempts of its own user alone, whatever was ordered: to the kernel all are one.
 * X5 while a job runs, a request of any node is contact: its own may be away for longer than a worker lasts alone, and the
 *    supervisor, on whichever node it is, keeps a worker that answers it. At rest only an answer is, so that a worker
 *    whose host does not come back ends.
 */
import { asBerthError, BerthError } from "../protocols/errors.ts";
import type { DownReply, DownRequest, JobOrder, WorkerStatus } from "../protocols/executor.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { newLetterKey } from "../runtime/sealing/letter.ts";
import { Attempt } from "./attempt.ts";
import type { ExecutorConfig } from "./config.ts";
import type { Contact } from "./contact.ts";
import type { Premises } from "./container.ts";
import { openEnvironment, type Secrets } from "./sealed-environment.ts";
import type { UplinkWire } from "./uplink.ts";

export interface ExecutorOptions {
  readonly config: ExecutorConfig;
  readonly wire: UplinkWire;
  readonly clock: Clock;
  readonly contact: Contact;
  readonly log: Logger;
  /** Undefined: others live beside us. */
  readonly container?: Premises | undefined;
  /** The worker was told to end, or must (X3). */
  readonly onStop: (reason: string) => void;
}

/** Attempts that are remembered after their end, so that an order that comes again is known (X1). */
const REMEMBERED_JOBS = 10_000;
/** For what is still to be sent when the worker ends. */
const FLUSH_MS = 2_000;

export class Executor {
  readonly #options: ExecutorOptions;
  readonly #startedAt: number;
  /** Made with this worker, and never written down. */
  readonly #sealingKey = newLetterKey();
  /** Running, or with frames not acknowledged. */
  readonly #attempts = new Map<string, Attempt>();
  readonly #running = new Set<Attempt>();
  /** The newest attempt ordered of each job, ended ones too. */
  readonly #newest = new Map<string, number>();
  readonly #cancelledEarly = new Set<string>();
  #endedCpuMs = 0;
  #isStopping = false;

  constructor(options: ExecutorOptions) {
    this.#options = options;
    this.#startedAt = options.clock.monotonic();
  }

  handle(request: DownRequest): DownReply {
    if (this.#running.size > 0) this.#options.contact.seen(); // X5
    try {
      return this.#answer(request);
    } catch (thrown) {
      return { ok: false, error: asBerthError(thrown).toWire() };
    }
  }

  status(): WorkerStatus {
    const uses = [...this.#running].map((attempt) => attempt.use());
    return {
      worker: this.#options.config.worker,
      jobs: [...this.#attempts.values()].map(({ order }) => ({
        job_id: order.job_id,
        attempt: order.attempt,
      })),
      pid: process.pid,
      uptime_ms: Math.round(this.#options.clock.monotonic() - this.#startedAt),
      cpu_ms: this.#endedCpuMs + uses.reduce((sum, use) => sum + use.cpuMs, 0),
      memory_bytes: process.memoryUsage.rss() + uses.reduce((sum, use) => sum + use.memoryBytes, 0),
      sealing_key: this.#sealingKey.publicKey,
    };
  }

  /** Ends every job without an outcome and sends what they have said; bounded. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const attempts = [...this.#attempts.values()];
    for (const attempt of attempts) attempt.abandon();
    await Promise.allSettled(attempts.map((attempt) => attempt.ended));
    await Promise.race([
      Promise.all(attempts.map((attempt) => attempt.finished)),
      this.#options.clock.sleep(FLUSH_MS),
    ]);
    for (const attempt of attempts) attempt.discard();
  }

  #answer(request: DownRequest): DownReply {
    switch (request.type) {
      case "run":
        this.#run(request.order);
        break;
      case "cancel":
        this.#cancel(request.job_id, request.attempt);
        break;
      case "input":
        this.#attemptOf(request.job_id, request.attempt).input(request.text);
        break;
      case "status":
        return { ok: true, status: this.status() };
      case "stop":
        this.#isStopping = true;
        this.#options.onStop(request.reason);
        break;
    }
    return { ok: true };
  }

  #run(order: JobOrder): void {
    const newest = this.#newest.get(order.job_id) ?? 0;
    if (order.attempt === newest) return;
    if (order.attempt < newest) throw new BerthError("job.superseded");
    if (this.#isStopping) throw new BerthError("worker.lost", "The worker is ending");
    // An older attempt of the same job that still runs is nobody's any more; its slot is the new one's.
    const older = this.#attempts.get(order.job_id);
    if (older === undefined && this.#running.size >= this.#options.config.slots)
      throw new BerthError("worker.busy");
    const { sealed_env: _, ...rest } = order;
    const secrets = openEnvironment(this.#sealingKey, this.#options.config.worker, order);
    this.#checkNeighbours(rest, secrets !== undefined);
    older?.abandon();
    older?.discard();
    this.#remember(order);
    this.#start(rest, secrets);
  }

  /** X4. */
  #checkNeighbours({ job_id, tenant, user }: JobOrder, holdsKeys: boolean): void {
    const isStranger = ({ order, holdsKeys: theirs }: Attempt) =>
      order.job_id !== job_id &&
      (holdsKeys || theirs) &&
      (order.tenant !== tenant || order.user !== user);
    if ([...this.#running].some(isStranger))
      throw new BerthError("worker.busy", "Another user's job runs here, and keys are about");
  }

  #start(order: JobOrder, secrets: Secrets): void {
    const log = this.#options.log.child({
      job: order.job_id,
      attempt: order.attempt,
      tenant: order.tenant,
    });
    const attempt = new Attempt({ ...this.#options, order, log }, secrets);
    this.#attempts.set(order.job_id, attempt);
    this.#running.add(attempt);
    log.info({ agent: order.agent }, "attempt started");
    if (this.#cancelledEarly.delete(keyOf(order.job_id, order.attempt))) attempt.cancel();
    attempt.ended
      .catch((thrown: unknown) => {
        log.error({ error: asBerthError(thrown).message }, "the attempt could not be cleaned up");
        this.#isStopping = true;
        this.#options.onStop("an attempt could not be cleaned up");
      })
      .finally(() => {
        this.#endedCpuMs += attempt.use().cpuMs;
        this.#running.delete(attempt);
      });
    void attempt.finished.then(() => {
      if (this.#attempts.get(order.job_id) === attempt) this.#attempts.delete(order.job_id);
      log.info({}, "attempt over");
    });
  }

  #remember(order: JobOrder): void {
    this.#newest.set(order.job_id, order.attempt);
    for (const job of this.#newest.keys()) {
      if (this.#newest.size <= REMEMBERED_JOBS) return;
      if (!this.#attempts.has(job)) this.#newest.delete(job);
    }
  }

  /** A cancel may overtake the order it is meant for: then the order ends as it begins. */
  #cancel(job: string, number: number): void {
    const attempt = this.#attempts.get(job);
    if (attempt?.order.attempt === number) {
      attempt.cancel();
      return;
    }
    if ((this.#newest.get(job) ?? 0) >= number) return;
    this.#cancelledEarly.add(keyOf(job, number));
    for (const key of this.#cancelledEarly) {
      if (this.#cancelledEarly.size <= REMEMBERED_JOBS) break;
      this.#cancelledEarly.delete(key);
    }
    throw new BerthError("job.not_running");
  }

  #attemptOf(job: string, number: number): Attempt {
    const attempt = this.#attempts.get(job);
    if (attempt === undefined) throw new BerthError("job.not_running");
    if (attempt.order.attempt !== number) throw new BerthError("job.superseded");
    return attempt;
  }
}

const keyOf = (job: string, attempt: number) => `${job}.${attempt}`;
