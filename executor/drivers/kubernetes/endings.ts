/**
 * How workers end: asked to, by themselves, or by the cluster.
 *
 * Invariants:
 * K2 An end is told once, after the pod is gone from the cluster and the worker's log is kept.
 * K3 Events are hints: whenever the stream is open, and at each sweep, what lives is compared with what is known.
 * K4 An end is bounded. A machine that does not confirm it is not waited for: its pod is taken out of the cluster, and a
 *    worker that may still run there hears from no node and ends itself.
 * K6 An incarnation ends once: what would make another pod of it goes before its pod does.
 */
import { asBerthError, BerthError } from "../../../protocols/errors.ts";
import type { Clock } from "../../../runtime/clock.ts";
import type { Logger } from "../../../runtime/logger.ts";
import type { WorkerExit } from "../driver.ts";
import { type KeptLogs, MAX_LOG_TAIL_BYTES } from "../kept-logs.ts";
import { ApiRefusal, FORBIDDEN } from "./api.ts";
import type { Cluster } from "./cluster.ts";
import { decideExit } from "./decide-exit.ts";
import { hasEnded, type Pod, type SandboxRef } from "./pod.ts";
import type { PodInformer } from "./pod-informer.ts";
import type { Known, Roster } from "./roster.ts";
import type { Sandboxes } from "./sandboxes.ts";
import type { WorkspaceClaims } from "./workspace-claims.ts";

export interface EndingsParts {
  readonly cluster: Pick<Cluster, "deletePod" | "logTail" | "pod"> & {
    readonly sandboxes: Pick<Sandboxes, "remove">;
  };
  readonly informer: Pick<PodInformer, "get" | "until">;
  readonly roster: Roster;
  readonly claims: Pick<WorkspaceClaims, "touch">;
  readonly logs: Pick<KeptLogs, "read" | "save">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onExit: (exit: WorkerExit) => void;
}

interface Ended {
  readonly last: Pod | undefined;
  readonly isConfirmed: boolean;
}

/** For a machine to confirm an end, beyond the grace. */
const CONFIRM_MS = 8_000;
const GONE_MS = 5_000;

export class Endings {
  readonly #parts: EndingsParts;

  constructor(parts: EndingsParts) {
    this.#parts = parts;
  }

  /** SIGTERM, the grace, and nothing of it is left. Not told as an exit. */
  async stop(known: Known, graceMs: number): Promise<void> {
    const { cluster, roster } = this.#parts;
    known.isEnding = true;
    try {
      // Before, too: a pod that went quickly has no log any more.
      await this.#keepLog(known);
      await this.#release(known);
      await cluster.deletePod(nameOf(known), Math.max(1, Math.ceil(graceMs / 1_000)));
      await this.#untilEnded(known, graceMs + CONFIRM_MS);
      await this.#finish(known);
      roster.known.delete(known.spec.worker);
    } catch (thrown) {
      known.isEnding = false;
      throw asBerthError(thrown, "driver.failed");
    }
  }

  /** It ended by itself, or is being ended by somebody else (K2). */
  async bury(known: Known): Promise<void> {
    if (known.isEnding) return;
    known.isEnding = true;
    const { log, onExit, roster } = this.#parts;
    const { spec } = known;
    try {
      // As it is now: what follows has the cluster end a pod that has ended, and say so.
      const ended = this.#ended(known);
      const patienceMs = this.#patience(known);
      await this.#keepLog(known);
      await this.#release(known);
      const { isConfirmed, last } = ended ?? (await this.#untilEnded(known, patienceMs));
      const text = await this.#finish(known);
      roster.known.delete(spec.worker);
      const view = { log: text, memoryBytes: spec.memory_bytes, isConfirmed };
      const verdict = decideExit(last, view);
      onExit({ worker: spec.worker, spec, ...verdict });
    } catch (thrown) {
      // The API is away: the next look tries again.
      known.isEnding = false;
      log.warn({ err: asBerthError(thrown), worker: spec.worker }, "a dead worker left something");
    }
  }

  /** K3. What starts is its start's business. */
  async look(): Promise<void> {
    const { informer, roster } = this.#parts;
    const over = [...roster.known.values()].filter(
      ({ pod, spec, uid }) => !roster.starting.has(spec.worker) && isOver(informer.get(pod), uid),
    );
    await Promise.all(over.map((known) => this.bury(known)));
  }

  /**
   * Takes a pod that nobody wants out of the cluster, for good (K6). One whose sandbox we may not remove stays: it would be made again
   * each time, until its sandbox's time is over. Resolves when it is gone; rejects with `driver.failed`.
   */
  async remove(pod: Pick<Pod, "name" | "uid" | "sandbox">): Promise<void> {
    if (pod.sandbox !== undefined) await this.#parts.cluster.sandboxes.remove(pod.sandbox);
    await this.#takeOut(pod);
  }

  async #takeOut(pod: Pick<Pod, "name" | "uid">): Promise<void> {
    const { cluster, informer } = this.#parts;
    await cluster.deletePod(pod, 0);
    const isGone = (now: Pod | undefined) => (now?.uid === pod.uid ? undefined : true);
    if (await informer.until(pod.name, isGone, GONE_MS)) return;
    // The stream may be behind.
    if ((await cluster.pod(pod.name))?.uid === pod.uid)
      throw new BerthError("driver.failed", `Pod ${pod.name} is still there`);
  }

  /**
   * K6. The pod says what made it: also one that was made before workers were made as they are now. Who has no right to that any
   * more ends the worker all the same: what is made in its place finds no identity.
   */
  async #release({ sandbox }: { readonly sandbox: SandboxRef | undefined }): Promise<void> {
    if (sandbox === undefined) return;
    const { cluster, log } = this.#parts;
    try {
      await cluster.sandboxes.remove(sandbox);
    } catch (thrown) {
      if (!(thrown instanceof ApiRefusal && thrown.answered === FORBIDDEN)) throw thrown;
      log.warn({ err: thrown, sandbox: sandbox.name }, "a worker's sandbox may not be removed");
    }
  }

  #ended({ pod, uid }: Known): Ended | undefined {
    const now = this.#parts.informer.get(pod);
    return now?.uid === uid && hasEnded(now) ? { last: now, isConfirmed: true } : undefined;
  }

  /** A machine that is slow to confirm is not waited for longer (K4). `last` is the pod as it was last seen. */
  async #untilEnded({ pod, uid }: Known, withinMs: number): Promise<Ended> {
    let last: Pod | undefined;
    const isConfirmed = await this.#parts.informer.until(
      pod,
      (now) => {
        if (now?.uid !== uid) return true;
        last = now;
        return hasEnded(now) ? true : undefined;
      },
      withinMs,
    );
    return { last, isConfirmed: isConfirmed === true };
  }

  /** Returns the log that it kept. */
  async #finish(known: Known): Promise<string> {
    const { claims, clock, log, logs } = this.#parts;
    const text = await this.#keepLog(known);
    await this.#takeOut(nameOf(known));
    if (known.spec.workspace !== "job")
      await claims.touch(known.spec).catch((thrown: unknown) => {
        const err = asBerthError(thrown);
        log.warn({ err, at: clock.now() }, "a workspace's last use is not on record");
      });
    return text === "" ? (logs.read(known.spec.worker) ?? "") : text;
  }

  /** No end waits for a log: its machine may be lost. */
  async #keepLog({ pod, spec }: Known): Promise<string> {
    const { cluster, log, logs } = this.#parts;
    try {
      const text = await cluster.logTail(pod, MAX_LOG_TAIL_BYTES);
      if (text !== "") logs.save(spec.worker, text);
      return text;
    } catch (thrown) {
      log.warn({ err: asBerthError(thrown), worker: spec.worker }, "a worker's log was not kept");
      return "";
    }
  }

  /** One that was told to end has its grace for that; one that runs on a lost machine has had it. */
  #patience({ pod }: Known): number {
    const now = this.#parts.informer.get(pod);
    return (now?.graceSeconds ?? 0) * 1_000 + CONFIRM_MS;
  }
}

const nameOf = ({ pod, uid }: Known) => ({ name: pod, uid });

function isOver(pod: Pod | undefined, uid: string): boolean {
  return pod?.uid !== uid || pod.isLeaving || hasEnded(pod);
}
