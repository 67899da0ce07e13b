/**
 * The pods of a deployment as the cluster last told of them.
 *
 * Invariants:
 * N1 A stream that ends is opened again at the version where it ended; where that is forgotten, a list takes the place
 *    of all that was known. So nothing that happened is missed for good, and what is held is never older than the stream.
 * N2 Whenever a stream is open, whoever asked is told, and compares all that he has.
 * N3 Of one name the last word counts: a removal of an older pod does not remove a newer one.
 */
import { asBerthError, BerthError } from "../../../protocols/errors.ts";
import type { Clock } from "../../../runtime/clock.ts";
import type { Logger } from "../../../runtime/logger.ts";
import { type Cluster, type PodEvent, WatchExpired } from "./cluster.ts";
import type { Pod } from "./pod.ts";

export interface PodInformerParts {
  readonly cluster: Pick<Cluster, "pods" | "watchPods">;
  readonly selector: string;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface PodListener {
  /** `last` is how the pod was when it went. */
  readonly changed: (name: string, last: Pod) => void;
  /** N2. */
  readonly opened: () => void;
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 3_000;
/** Beyond the time that the API gives a stream: the machine at its other end is gone. */
const LONGEST_STREAM_MS = 300_000;
/** So often in a row nothing was heard from where it ended: perhaps that place is the reason. */
const TRIES = 5;

export class PodInformer {
  readonly #parts: PodInformerParts;
  readonly #pods = new Map<string, Pod>();
  readonly #waiting = new Set<() => void>();
  #listener: PodListener = { changed: () => {}, opened: () => {} };
  #version: string | undefined;

  constructor(parts: PodInformerParts) {
    this.#parts = parts;
  }

  get(name: string): Pod | undefined {
    return this.#pods.get(name);
  }

  all(): readonly Pod[] {
    return [...this.#pods.values()];
  }

  listen(listener: PodListener): void {
    this.#listener = listener;
  }

  /** Resolves when all that is there is known. Rejects with `driver.failed`. */
  async open(): Promise<void> {
    await this.#list();
  }

  /** Runs until the signal aborts; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#parts;
    let pauseMs = FIRST_PAUSE_MS;
    let failures = 0;
    while (!signal.aborted) {
      try {
        if (this.#version === undefined || failures >= TRIES) await this.#list();
        await this.#follow(signal, () => {
          pauseMs = FIRST_PAUSE_MS;
          failures = 0;
        });
      } catch (thrown) {
        if (signal.aborted) return;
        failures += 1;
        if (thrown instanceof WatchExpired) this.#version = undefined;
        else log.warn({ err: asBerthError(thrown) }, "the cluster's pods cannot be followed");
      }
      await clock.sleep(pauseMs, signal);
      if (failures > 0) pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2);
    }
  }

  /**
   * Resolves with what `settled` makes of the pod as soon as that is something; asked again at each change, and when the time is over.
   * Undefined: it was nothing within the time.
   */
  async until<T>(
    name: string,
    settled: (pod: Pod | undefined, waitedMs: number) => T | undefined,
    withinMs: number,
    lookEveryMs = withinMs,
  ): Promise<T | undefined> {
    const { clock } = this.#parts;
    const begun = clock.monotonic();
    for (;;) {
      const waitedMs = clock.monotonic() - begun;
      const found = settled(this.#pods.get(name), waitedMs);
      if (found !== undefined || waitedMs >= withinMs) return found;
      await this.#change(Math.min(lookEveryMs, withinMs - waitedMs));
    }
  }

  async #change(withinMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = () => {
        cancel();
        this.#waiting.delete(done);
        resolve();
      };
      const cancel = this.#parts.clock.after(withinMs, done);
      this.#waiting.add(done);
    });
  }

  async #list(): Promise<void> {
    const { cluster, selector } = this.#parts;
    const { pods, resourceVersion } = await cluster.pods(selector);
    const before = new Map(this.#pods);
    this.#pods.clear();
    for (const pod of pods) this.#pods.set(pod.name, pod);
    this.#version = resourceVersion;
    for (const [name, last] of before) if (!this.#pods.has(name)) this.#tell(name, last);
    for (const pod of pods) this.#tell(pod.name, pod);
  }

  async #follow(signal: AbortSignal, onOpen: () => void): Promise<void> {
    const { clock, cluster, selector } = this.#parts;
    const late = new AbortController();
    const cancel = clock.after(LONGEST_STREAM_MS, () => late.abort());
    const from = { labelSelector: selector, resourceVersion: this.#version ?? "" };
    const open = () => {
      onOpen();
      this.#listener.opened();
    };
    try {
      const event = (heard: PodEvent) => this.#heard(heard);
      await cluster.watchPods(from, { open, event }, AbortSignal.any([signal, late.signal]));
    } catch (thrown) {
      if (late.signal.aborted) throw new BerthError("driver.failed", "the stream fell silent");
      throw thrown;
    } finally {
      cancel();
    }
  }

  /** N1, N3. */
  #heard(event: PodEvent): void {
    this.#version = event.resourceVersion;
    if (event.type === "bookmark") return;
    const { pod } = event;
    if (event.type === "seen") this.#pods.set(pod.name, pod);
    else if (this.#pods.get(pod.name)?.uid === pod.uid) this.#pods.delete(pod.name);
    this.#tell(pod.name, pod);
  }

  #tell(name: string, last: Pod): void {
    for (const done of this.#waiting) done();
    this.#listener.changed(name, last);
  }
}
