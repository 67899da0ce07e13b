/**
 * Workers that are started, warm and paused, and nobody's yet: a start that takes one of them waits for no process.
 *
 * Invariants:
 * P1 A dormant worker is given to one worker alone: to whoever writes its claim first.
 * P2 One whose claimer went before it told it whose it is, is removed: nobody knows what half of it stands.
 * P3 Refilling comes after everything else: one at a time, and none while a worker starts.
 */
import { createHash } from "node:crypto";
import { asBerthError, BerthError } from "../../../protocols/errors.ts";
import type { WorkerSpec } from "../../../protocols/executor.ts";
import type { Clock } from "../../../runtime/clock.ts";
import type { Logger } from "../../../runtime/logger.ts";
import { WAITS_FOR_IDENTITY } from "../../identity.ts";
import type { Claims } from "./claims.ts";
import type { WorkerSize } from "./container-spec.ts";
import type { Engine } from "./engine.ts";
import { type EngineOwner, LABELS, type Labels, partLabels } from "./labels.ts";
import type { Sandbox, Sandboxes } from "./sandboxes.ts";
import type { Workspaces } from "./workspaces.ts";

export interface Flavour {
  readonly size: WorkerSize;
  readonly count: number;
}

export interface DormantPoolOptions {
  readonly flavours: readonly Flavour[];
  readonly engine: Engine;
  readonly sandboxes: Sandboxes;
  readonly workspaces: Workspaces;
  readonly claims: Claims;
  readonly owner: EngineOwner;
  /** Of the image's build: dormant workers of another one are of no use. */
  readonly build: string;
  readonly newId: () => string;
  /** False while a worker starts (P3). */
  readonly isQuiet: () => boolean;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The label by which a dormant worker is known to fit. */
export const FLAVOUR_LABEL = "berth.flavour";
const WARM_WITHIN_MS = 30_000;
const LOOK_EVERY_MS = 50;
const RETRY_MS = 5_000;

export class DormantPool {
  readonly #options: DormantPoolOptions;
  readonly #byFlavour = new Map<string, Sandbox[]>();
  /** Slots of those that are being made. */
  readonly #making = new Set<string>();
  readonly #closing = new AbortController();
  #refilling: Promise<void> | undefined;

  constructor(options: DormantPoolOptions) {
    this.#options = options;
  }

  flavourOf(size: WorkerSize): string {
    return flavourKey(size, this.#options.build);
  }

  /** Takes up one that an earlier process of ours had made. False: it is of no use (P2). */
  adopt(sandbox: Sandbox, flavour: string): boolean {
    const wanted = this.#wanted().find(({ key }) => key === flavour);
    const held = this.#held(flavour);
    if (wanted === undefined || held.length >= wanted.count) return false;
    held.push(sandbox);
    return true;
  }

  /** Claims one that fits; undefined when there is none (P1). */
  async take(spec: WorkerSpec): Promise<Sandbox | undefined> {
    const held = this.#held(this.flavourOf(spec));
    for (let sandbox = held.shift(); sandbox !== undefined; sandbox = held.shift()) {
      if (await this.#options.claims.claim(sandbox.slot, spec)) return sandbox;
    }
    return undefined;
  }

  /** Forgets one that is gone. True if it was one of ours. */
  drop(container: string): boolean {
    for (const held of this.#byFlavour.values()) {
      const at = held.findIndex((sandbox) => sandbox.container === container);
      if (at >= 0) return held.splice(at, 1).length > 0;
    }
    return false;
  }

  has(container: string): boolean {
    return this.all().some((sandbox) => sandbox.container === container);
  }

  isMaking(slot: string): boolean {
    return this.#making.has(slot);
  }

  all(): Sandbox[] {
    return [...this.#byFlavour.values()].flat();
  }

  /** By tier. */
  counts(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { key, size } of this.#wanted()) {
      counts[size.tier] = (counts[size.tier] ?? 0) + this.#held(key).length;
    }
    return counts;
  }

  /** Level-triggered: makes what is missing, in its own time (P3). */
  refill(): void {
    if (this.#closing.signal.aborted) return;
    this.#refilling ??= this.#refill().finally(() => {
      this.#refilling = undefined;
    });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#refilling;
  }

  async #refill(): Promise<void> {
    const { clock, isQuiet, log } = this.#options;
    const { signal } = this.#closing;
    for (let missing = this.#missing(); missing !== undefined; missing = this.#missing()) {
      if (signal.aborted) return;
      if (!isQuiet()) {
        await clock.sleep(LOOK_EVERY_MS, signal);
        continue;
      }
      try {
        const sandbox = await this.#make(missing);
        this.#held(this.flavourOf(missing)).push(sandbox);
      } catch (thrown) {
        if (signal.aborted) return;
        log.warn({ err: asBerthError(thrown), tier: missing.tier }, "no dormant worker was made");
        await clock.sleep(RETRY_MS, signal);
      }
    }
  }

  #missing(): WorkerSize | undefined {
    return this.#wanted().find(({ key, count }) => this.#held(key).length < count)?.size;
  }

  /** A workspace that must be mounted at creation cannot be bound late: then only those without one are kept ready. */
  #wanted(): { readonly key: string; readonly size: WorkerSize; readonly count: number }[] {
    const { flavours, workspaces } = this.#options;
    return flavours
      .filter(({ size }) => size.network !== "tenant")
      .filter(({ size }) => size.workspace === "job" || workspaces.isBounded)
      .map(({ size, count }) => ({ key: this.flavourOf(size), size, count }));
  }

  #held(flavour: string): Sandbox[] {
    const held = this.#byFlavour.get(flavour) ?? [];
    this.#byFlavour.set(flavour, held);
    return held;
  }

  async #make(size: WorkerSize): Promise<Sandbox> {
    const { engine, newId, owner, sandboxes } = this.#options;
    const slot = newId();
    this.#making.add(slot);
    const tier: Labels = { [LABELS.tier]: size.tier, [LABELS.incarnation]: slot };
    try {
      const sandbox = await sandboxes.make({
        slot,
        name: `berth-${owner.deployment}-${slot}`,
        size,
        spec: undefined,
        labels: {
          ...partLabels(owner, "dormant"),
          ...tier,
          [FLAVOUR_LABEL]: this.flavourOf(size),
        },
        network: {
          owner:
            size.network === "shared" ? { kind: "shared" } : { kind: "dormant", sandbox: slot },
          labels: size.network === "shared" ? {} : tier,
        },
      });
      try {
        await this.#untilWarm(sandbox);
        await engine.pause(sandbox.container);
        return sandbox;
      } catch (thrown) {
        await sandboxes.destroy(sandbox);
        throw thrown;
      }
    } finally {
      this.#making.delete(slot);
    }
  }

  async #untilWarm({ container }: Sandbox): Promise<void> {
    const { clock, engine } = this.#options;
    const until = clock.monotonic() + WARM_WITHIN_MS;
    while (!(await engine.logTail(container)).includes(WAITS_FOR_IDENTITY)) {
      if (clock.monotonic() > until || this.#closing.signal.aborted)
        throw new BerthError("driver.failed", "the dormant worker did not get warm in time");
      await clock.sleep(LOOK_EVERY_MS, this.#closing.signal);
    }
  }
}

/** Equal for workers that can stand in for one another. */
export function flavourKey(size: WorkerSize, build: string): string {
  const { tier, workspace, cpus, memory_bytes, storage_bytes, processes, network, internet } = size;
  const parts = [tier, workspace, cpus, memory_bytes, storage_bytes, processes, network, internet];
  return createHash("sha256")
    .update(JSON.stringify([build, ...parts]))
    .digest("hex")
    .slice(0, 16);
}
