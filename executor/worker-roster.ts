/**
 * The workers of one host and when each was last heard of. Invariants:
 * H1 a worker is silent only while the broker carries messages: the time in which it did not, or in which this
 *    process stood still, counts for nobody.
 */
import type { WorkerSpec } from "../protocols/executor.ts";
import { type Deferred, deferred } from "./deferred.ts";

interface Entry {
  readonly spec: WorkerSpec;
  readonly ready: Deferred<void>;
  seenAt: number;
  cpuMs: number;
}

export class WorkerRoster {
  readonly #entries = new Map<string, Entry>();
  #healthySince = 0;
  #lastCheckAt: number | undefined;

  /** Adds it, or gives the entry that is there. */
  add(spec: WorkerSpec, now: number): { readonly ready: Promise<void> } {
    const entry = this.#entries.get(spec.worker) ?? {
      spec,
      ready: deferred<void>(),
      seenAt: now,
      cpuMs: 0,
    };
    this.#entries.set(spec.worker, entry);
    entry.ready.promise.catch(() => {});
    return { ready: entry.ready.promise };
  }

  /** Undefined for a worker that is not ours. */
  heard(worker: string, cpuMs: number, now: number): WorkerSpec | undefined {
    const entry = this.#entries.get(worker);
    if (entry === undefined) return undefined;
    entry.seenAt = now;
    entry.cpuMs = cpuMs;
    entry.ready.resolve();
    return entry.spec;
  }

  /** Whoever waits for its hello waits in vain. */
  remove(worker: string, reason: Error): WorkerSpec | undefined {
    const entry = this.#entries.get(worker);
    this.#entries.delete(worker);
    entry?.ready.reject(reason);
    return entry?.spec;
  }

  has(worker: string): boolean {
    return this.#entries.has(worker);
  }

  get workers(): string[] {
    return [...this.#entries.keys()];
  }

  cpuMs(worker: string): number | undefined {
    return this.#entries.get(worker)?.cpuMs;
  }

  /** Those unheard for too long (H1); to be called about every `everyMs`, saying whether the broker answered. */
  silent(check: {
    readonly now: number;
    readonly everyMs: number;
    readonly isBrokerUp: boolean;
    readonly silentAfterMs: number;
  }): WorkerSpec[] {
    const { now, everyMs, isBrokerUp, silentAfterMs } = check;
    const stoodStill = this.#lastCheckAt === undefined || now - this.#lastCheckAt > 3 * everyMs;
    this.#lastCheckAt = now;
    if (!isBrokerUp || stoodStill) this.#healthySince = now;
    return [...this.#entries.values()]
      .filter(({ seenAt }) => now - Math.max(seenAt, this.#healthySince) > silentAfterMs)
      .map(({ spec }) => spec);
  }
}
