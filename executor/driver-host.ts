/**
 * A node's service for starting and stopping workers through its driver, and the ear for their hellos and beats.
 * Invariants:
 * V1 `start` resolves only after the worker was heard, and leaves nothing behind when it fails.
 * V2 each worker's end is told once: by the driver when its process ends, or by us when it fell silent and was ended.
 * V3 a worker that was given up is told so when it is heard again, and ends itself.
 * V4 the credential of a worker that ended, or could not be ended, counts no more.
 */
import { pack } from "msgpackr";
import {
  DRIVER_VERBS,
  type DriverInput,
  type DriverOutput,
  type DriverReply,
  type DriverVerb,
} from "../protocols/driver.ts";
import { asBerthError, BerthError } from "../protocols/errors.ts";
import type {
  BrokerCredential,
  HostWorkers,
  StartStep,
  WorkerSpec,
} from "../protocols/executor.ts";
import { subjects } from "../protocols/subjects.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { type Metrics, noMetrics } from "../runtime/metrics.ts";
import type { Bus, Incoming, Serving } from "../runtime/transport.ts";
import type { Driver, LiveWorker, WorkerConnection, WorkerExit } from "./drivers/driver.ts";
import { answer, readInput, readWord } from "./host-wire.ts";
import { RecentIds } from "./recent-ids.ts";
import { StartMetrics } from "./start-metrics.ts";
import { WordPace } from "./word-pace.ts";
import type { WorkerCredentials } from "./worker-credentials.ts";
import { WorkerRoster } from "./worker-roster.ts";

export interface DriverHostOptions {
  readonly node: string;
  readonly driver: Driver;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Logger;
  /** Default: none. */
  readonly metrics?: Metrics;
  readonly connection: (spec: WorkerSpec) => WorkerConnection | Promise<WorkerConnection>;
  readonly credentials?: WorkerCredentials;
  /** A worker ended that nobody had stopped: its tenant's supervisor is to be told. */
  readonly onExit: (exit: WorkerExit) => void;
  /** How long a worker may take to its hello (default 30 s). */
  readonly helloWithinMs?: number;
  /** How long it may then be silent (default 10 s). */
  readonly silentAfterMs?: number;
}

export interface DriverHost {
  /** Workers whose start is under way. */
  starting(): readonly string[];
  /** Ends a worker that nobody wants; its workspace stays. Rejects when it could not be ended. */
  remove(worker: string): Promise<void>;
  /** What its workers use, and where those that start are. */
  census(): Promise<HostWorkers>;
  /** The last that a worker of this host wrote. Rejects with `worker.not_found`. */
  log(worker: string): Promise<string>;
  /** Stops all, keeping workspaces, and resolves with those that lived. */
  stopAll(): Promise<readonly LiveWorker[]>;
  /** Serves no more. Workers live on; with `removeAll` nothing else that the driver made for them does. */
  close(options?: { readonly removeAll: boolean }): Promise<void>;
}

const HELLO_WITHIN_MS = 30_000;
const SILENT_AFTER_MS = 10_000;
const CHECK_MS = 1_000;
const PING = "ping";
/** Given-up workers that are remembered (V3). */
const REMEMBERED = 1_000;

/** Resolves when it serves; workers of an earlier process are adopted. */
export async function startDriverHost(options: DriverHostOptions): Promise<DriverHost> {
  const host = new Host(options);
  await host.open();
  return host;
}

class Host implements DriverHost {
  readonly #options: DriverHostOptions;
  readonly #counts: StartMetrics;
  readonly #roster = new WorkerRoster();
  readonly #pace = new WordPace();
  readonly #gone = new RecentIds(REMEMBERED);
  readonly #starting = new Map<string, Promise<DriverOutput<"start">>>();
  readonly #steps = new Map<string, StartStep>();
  readonly #servings: Serving[] = [];
  readonly #closing = new AbortController();

  constructor(options: DriverHostOptions) {
    this.#options = options;
    this.#counts = new StartMetrics(options.metrics ?? noMetrics, options.clock);
  }

  async open(): Promise<void> {
    const { driver, bus, node, clock } = this.#options;
    for (const { spec } of await driver.list()) this.#roster.add(spec, clock.monotonic());
    driver.watch((exit) => this.#exited(exit));
    for (const subject of [subjects.hellos, subjects.beats]) {
      this.#servings.push(bus.serve(subject, undefined, (request) => this.#heard(request)));
    }
    for (const verb of Object.keys(DRIVER_VERBS) as DriverVerb[]) {
      this.#servings.push(
        bus.serve(
          subjects.driver(node, verb),
          undefined,
          (request) => void this.#serve(verb, request),
        ),
      );
    }
    const ping = subjects.driver(node, PING);
    this.#servings.push(bus.serve(ping, undefined, (request) => request.reply(request.data)));
    await Promise.all(this.#servings.map(({ ready }) => ready));
    void this.#watch();
  }

  starting(): readonly string[] {
    return [...this.#starting.keys()];
  }

  async remove(worker: string): Promise<void> {
    await this.#stop(worker, true);
  }

  async census(): Promise<HostWorkers> {
    const { clock, driver, node } = this.#options;
    return {
      node,
      driver: driver.name,
      at: clock.now(),
      use: Object.fromEntries(await driver.use()),
      steps: Object.fromEntries(this.#steps),
      dormant: driver.dormant(),
    };
  }

  async log(worker: string): Promise<string> {
    const text = await this.#options.driver.log(worker);
    if (text !== undefined) return text;
    throw new BerthError("worker.not_found", `nothing is known of worker ${worker} here`);
  }

  async stopAll(): Promise<readonly LiveWorker[]> {
    const live = await this.#options.driver.list();
    await Promise.all(live.map(({ worker }) => this.#stop(worker, true)));
    return live;
  }

  async close(options = { removeAll: false }): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#servings.map((serving) => serving.close()));
    await this.#options.driver.dispose(options);
  }

  async #serve(verb: DriverVerb, request: Incoming): Promise<void> {
    request.reply(pack(await this.#reply(verb, request.data)));
  }

  async #reply(verb: DriverVerb, data: Uint8Array): Promise<DriverReply> {
    try {
      return { ok: true, output: await this.#verbs[verb](data) };
    } catch (thrown) {
      const error = asBerthError(thrown);
      this.#options.log.warn(
        { verb, code: error.code, error: error.message },
        "a driver request failed",
      );
      return { ok: false, error: error.toWire() };
    }
  }

  readonly #verbs: { readonly [V in DriverVerb]: (data: Uint8Array) => Promise<DriverOutput<V>> } =
    {
      start: (data) => this.#startOnce(readInput("start", data).spec),
      stop: (data) => {
        const { worker, keep_workspace } = readInput("stop", data);
        return this.#stop(worker, keep_workspace);
      },
      list: () => this.#list(),
      verify: (data) => Promise.resolve(this.#verify(readInput("verify", data))),
      "remove-workspace": async (data) => {
        const { tenant, workspace_key } = readInput("remove-workspace", data);
        await this.#options.driver.removeWorkspace(tenant, workspace_key);
        return {};
      },
    };

  /** Requests for one worker that come at the same time are one start. */
  #startOnce(spec: WorkerSpec): Promise<DriverOutput<"start">> {
    const started = this.#starting.get(spec.worker) ?? this.#start(spec);
    this.#starting.set(spec.worker, started);
    return started.finally(() => this.#starting.delete(spec.worker));
  }

  /** V1. */
  async #start(spec: WorkerSpec): Promise<DriverOutput<"start">> {
    const { driver, clock, node, connection } = this.#options;
    this.#gone.delete(spec.worker);
    // A worker that lives already is no start.
    const start = this.#roster.has(spec.worker) ? undefined : this.#counts.begin(spec);
    const { ready } = this.#roster.add(spec, clock.monotonic());
    const waiting = new AbortController();
    try {
      const onStep = (step: StartStep) => {
        this.#steps.set(spec.worker, step);
        start?.step(step);
      };
      await driver.start(spec, await connection(spec), onStep);
      onStep("connecting");
      const within = this.#options.helloWithinMs ?? HELLO_WITHIN_MS;
      const late = clock.sleep(within, waiting.signal).then(() => {
        throw new BerthError(
          "worker.start_failed",
          `The worker did not answer within ${within} ms`,
        );
      });
      await Promise.race([ready, late]);
      start?.end("started");
      return { host: node, driver: driver.name };
    } catch (thrown) {
      start?.end("failed");
      await this.#stop(spec.worker, true);
      throw new BerthError("worker.start_failed", asBerthError(thrown).message, { cause: thrown });
    } finally {
      this.#steps.delete(spec.worker);
      waiting.abort();
    }
  }

  async #stop(worker: string, keepWorkspace: boolean): Promise<Record<string, never>> {
    const reason = new BerthError("worker.start_failed", "The worker was stopped");
    const spec = this.#roster.remove(worker, reason);
    this.#gone.add(worker);
    try {
      await this.#options.driver.stop(worker, { keepWorkspace });
    } finally {
      // V4: not before, for it may have something to say at its end.
      if (spec) this.#options.credentials?.revoke(spec);
    }
    return {};
  }

  async #list(): Promise<DriverOutput<"list">> {
    const workers = await this.#options.driver.list();
    return { driver: this.#options.driver.name, workers: [...workers] };
  }

  #verify({ workers }: DriverInput<"verify">): DriverOutput<"verify"> {
    const lost = workers.map(({ worker }) => worker).filter((worker) => !this.#roster.has(worker));
    const cpu = workers.flatMap(({ worker }) => {
      const ms = this.#roster.cpuMs(worker);
      return ms === undefined ? [] : [[worker, ms] as const];
    });
    return { lost, cpu_ms: Object.fromEntries(cpu) };
  }

  #heard(request: Incoming): void {
    const worker = request.subject.split(".").at(-1) ?? "";
    if (!this.#pace.take(worker, this.#options.clock.monotonic())) return;
    if (this.#gone.has(worker)) {
      const { code, message } = new BerthError("worker.not_found");
      answer(request, { ok: false, error: { code, message } });
      return;
    }
    const { clock, credentials } = this.#options;
    const word = readWord(request.data);
    const spec = this.#roster.heard(worker, word.cpuMs, clock.monotonic());
    if (spec) void this.#welcome(request, credentials?.renew(spec, word));
    // A worker of another host is that host's to answer, as long as it is there.
    else void this.#rescue(request, credentials?.rescue(worker, word));
  }

  async #welcome(request: Incoming, next: Promise<BrokerCredential> | undefined): Promise<void> {
    const credential = await next?.catch(() => undefined);
    answer(request, { ok: true, ...(credential ? { credential } : {}) });
  }

  async #rescue(
    request: Incoming,
    next: Promise<BrokerCredential | undefined> | undefined,
  ): Promise<void> {
    const credential = await next?.catch(() => undefined);
    if (credential) answer(request, { ok: true, credential });
  }

  /** V2. */
  #exited(exit: WorkerExit): void {
    const reason = new BerthError("worker.start_failed", `The worker ended: ${exit.reason}`);
    this.#roster.remove(exit.worker, reason);
    this.#options.credentials?.revoke(exit.spec); // V4
    this.#counts.exited(exit);
    this.#options.log.warn(
      { worker: exit.worker, tenant: exit.spec.tenant, reason: exit.reason },
      "a worker ended",
    );
    this.#gone.add(exit.worker);
    // Whoever waits for its start hears of it as the answer to that.
    if (!this.#starting.has(exit.worker)) this.#options.onExit(exit);
  }

  async #watch(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await clock.sleep(CHECK_MS, signal);
      const isBrokerUp = await this.#isBrokerUp();
      const silent = this.#roster.silent({
        now: clock.monotonic(),
        everyMs: CHECK_MS,
        isBrokerUp,
        silentAfterMs: this.#options.silentAfterMs ?? SILENT_AFTER_MS,
      });
      for (const spec of signal.aborted ? [] : silent) await this.#giveUp(spec);
    }
  }

  /** A message to ourselves goes through the broker and back. */
  async #isBrokerUp(): Promise<boolean> {
    try {
      await this.#options.bus.request(
        subjects.driver(this.#options.node, PING),
        new Uint8Array(),
        CHECK_MS,
      );
      return true;
    } catch {
      return false;
    }
  }

  async #giveUp(spec: WorkerSpec): Promise<void> {
    const { worker } = spec;
    const { silentAfterMs = SILENT_AFTER_MS } = this.#options;
    const reason = `it fell silent: its host did not hear it for ${silentAfterMs} ms`;
    try {
      await this.#stop(worker, true);
    } catch (thrown) {
      this.#options.log.error(
        { worker, error: asBerthError(thrown).message },
        "a silent worker could not be ended",
      );
    }
    this.#exited({ worker, spec, reason, code: "worker.lost" });
  }
}
