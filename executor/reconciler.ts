/**
 * Compares what is wanted of a host with what is there, again and again, so that nothing depends on an event that may be
 * lost: at the start, when the driver says that something changed, and every half a minute. Invariants:
 * C1 passes never overlap. One that overruns its time is given up: it ends, reports and sweeps nothing more.
 * C2 what lives is listed before the records are read, to end what is on none; and again after, to tell what is lost.
 * C3 what nobody can be asked about stays, and so does what cannot be removed; the pass has failed then, and the next one
 *    comes sooner, but ever later while passes fail.
 */
import { asBerthError, BerthError } from "../protocols/errors.ts";
import type { WorkerRecord } from "../protocols/executor.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Metrics } from "../runtime/metrics.ts";
import { decideReconciliation, unrecorded } from "./decide-reconciliation.ts";
import { deferred } from "./deferred.ts";
import type { Driver, LiveWorker, Wanted, WorkerExit } from "./drivers/driver.ts";

/** The word of the records and of the tenants' supervisors. */
export interface Desires {
  /** Every worker on record, of all hosts. */
  readonly records: () => Promise<readonly WorkerRecord[]>;
  /** Whether its supervisor owns a worker that is not on record. Rejects when it cannot be asked. */
  readonly isOwned: (worker: LiveWorker) => Promise<boolean>;
  readonly isWorkspaceWanted: Wanted["isWorkspaceWanted"];
  /** Resolves when the supervisor's mailbox has it; told twice it counts once. */
  readonly reportExit: (exit: WorkerExit) => Promise<void>;
}

export interface ReconcilerOptions {
  readonly node: string;
  readonly driver: Pick<Driver, "list" | "sweep" | "onChange">;
  readonly host: {
    /** Workers whose start is under way. */
    starting(): readonly string[];
    /** Ends a worker; its workspace stays. */
    remove(worker: string): Promise<void>;
  };
  readonly desires: Desires;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** In [0, 1); spreads the hosts' passes. */
  readonly random: () => number;
  /** From one pass to the next, if nothing happens (default 30 s). */
  readonly everyMs?: number;
  /** Longest pass (default 2 min): stops wait for agents that ignore signals. */
  readonly passMs?: number;
}

export interface Reconciler {
  /** Asks for a pass; asking often is one pass. */
  ask(): void;
  /** Makes no more passes; one that runs is given up (C1). */
  close(): Promise<void>;
}

const EVERY_MS = 30_000;
const PASS_MS = 120_000;
/** From one pass to the next at least: what happens meanwhile is one change. */
const SETTLE_MS = 1_000;
/** Of `everyMs`, by which a pass comes sooner or later. */
const SPREAD = 0.2;

/** Resolves after the first pass, also one that failed: what it could not do is tried again. */
export async function startReconciler(options: ReconcilerOptions): Promise<Reconciler> {
  const loop = new Loop(options);
  await loop.first;
  return loop;
}

class Loop implements Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #closing = new AbortController();
  readonly #first = deferred<void>();
  readonly #running: Promise<void>;
  /** Aborts when a pass is asked for. */
  #asked = new AbortController();

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    options.driver.onChange(() => this.ask());
    this.#running = this.#run();
  }

  get first(): Promise<void> {
    return this.#first.promise;
  }

  ask(): void {
    this.#asked.abort();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.ask();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#closing;
    let failures = 0;
    while (!signal.aborted) {
      this.#asked = new AbortController();
      failures = (await this.#pass()) ? 0 : failures + 1;
      this.#first.resolve();
      await clock.sleep(SETTLE_MS, signal);
      await clock.sleep(this.#pauseMs(failures), this.#asked.signal);
    }
  }

  #pauseMs(failures: number): number {
    const { everyMs = EVERY_MS, random } = this.#options;
    const pauseMs = everyMs * (1 - SPREAD + 2 * SPREAD * random());
    return failures === 0 ? pauseMs : Math.min(pauseMs, SETTLE_MS * 2 ** Math.min(failures, 10));
  }

  /** False when anything was left undone (C3). */
  async #pass(): Promise<boolean> {
    const { clock, log, metrics, passMs = PASS_MS } = this.#options;
    const over = new AbortController();
    const { signal } = this.#closing;
    const late = clock.sleep(passMs, AbortSignal.any([over.signal, signal])).then(() => {
      throw new BerthError("driver.failed", `a pass took longer than ${passMs} ms`);
    });
    let isComplete = false;
    try {
      isComplete = await Promise.race([new Pass(this.#options, over.signal).run(), late]);
    } catch (thrown) {
      if (signal.aborted) return false;
      log.warn({ err: asBerthError(thrown) }, "a comparison of wanted with present failed");
    } finally {
      over.abort(); // C1
    }
    metrics.count("berth_reconcile_passes_total", { result: isComplete ? "done" : "failed" });
    return isComplete;
  }
}

class Pass {
  readonly #options: ReconcilerOptions;
  /** Aborts when the pass is over or given up. */
  readonly #signal: AbortSignal;
  #isComplete = true;

  constructor(options: ReconcilerOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
  }

  /** C2. */
  async run(): Promise<boolean> {
    const { desires, driver, node } = this.#options;
    const before = new Map((await driver.list()).map((live) => [live.worker, live]));
    const records = await desires.records();
    const owned = await this.#owned(before, records);
    const after = await this.#present();
    const seen = new Set(before.keys());
    const { end, lost } = decideReconciliation({ node, before: seen, records, owned, after });
    await this.#each(end, (worker) => this.#end(worker));
    await this.#each(lost, (record) => this.#tell(record));
    const wanted = new Set([...records.map(({ id }) => id), ...owned, ...after]);
    for (const worker of end) wanted.delete(worker);
    await this.#sweep(wanted);
    return this.#isComplete;
  }

  async #present(): Promise<ReadonlySet<string>> {
    // Those that start are looked at first: one that is up in between is in the list.
    const starting = this.#options.host.starting();
    const live = await this.#options.driver.list();
    return new Set([...starting, ...live.map(({ worker }) => worker)]);
  }

  /** Of those without a record. C3: one whose supervisor cannot be asked counts as owned. */
  async #owned(
    before: ReadonlyMap<string, LiveWorker>,
    records: readonly WorkerRecord[],
  ): Promise<ReadonlySet<string>> {
    const owned = new Set(unrecorded(new Set(before.keys()), records));
    await this.#each([...owned], async (worker) => {
      const live = before.get(worker);
      if (live && !(await this.#options.desires.isOwned(live))) owned.delete(worker);
    });
    return owned;
  }

  async #end(worker: string): Promise<void> {
    const { host, log, metrics } = this.#options;
    log.warn({ worker }, "ending a worker that nobody wants here");
    await host.remove(worker);
    metrics.count("berth_reconcile_removed_total", { what: "worker" });
  }

  async #tell({ id, spec }: WorkerRecord): Promise<void> {
    const { desires, log, metrics } = this.#options;
    const reason = "it is on its host's record, and was not there when that looked";
    log.warn({ worker: id, tenant: spec.tenant, reason }, "a worker is lost");
    await desires.reportExit({ worker: id, spec, reason, code: "worker.lost" });
    metrics.count("berth_reconcile_lost_total");
  }

  async #sweep(workers: ReadonlySet<string>): Promise<void> {
    const { desires, driver, log, metrics } = this.#options;
    this.#goOn();
    const removed = await driver.sweep({
      workers,
      leave: (what, thrown) => {
        this.#goOn();
        this.#leave(thrown, what);
      },
      isWorkspaceWanted: async (workspace) => {
        this.#goOn();
        return await desires.isWorkspaceWanted(workspace);
      },
    });
    if (removed.length === 0) return;
    log.info({ removed }, "removed what nobody wants any more");
    for (const name of removed)
      metrics.count("berth_reconcile_removed_total", { what: whatIs(name) });
  }

  /** What fails is left for the next pass, and keeps nothing else from being done. */
  async #each<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
    this.#goOn();
    const results = await Promise.allSettled(items.map(act));
    for (const result of results) {
      if (result.status === "rejected") this.#leave(result.reason);
    }
  }

  #leave(thrown: unknown, what?: string): void {
    this.#isComplete = false;
    const { code, message } = asBerthError(thrown);
    this.#options.log.warn({ what, code, reason: message }, "left for the next comparison");
  }

  #goOn(): void {
    if (this.#signal.aborted) throw new BerthError("driver.failed", "the pass was given up");
  }
}

const PARTS = ["container", "network", "pod", "policy", "sandbox", "slot", "workspace"];

/** The first word of what a sweep removed; names come from outside, and labels must not. */
function whatIs(name: string): string {
  return PARTS.find((part) => name.startsWith(`${part} `)) ?? "other";
}
