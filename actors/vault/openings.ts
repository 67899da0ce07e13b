/**
 * The record of what was opened. Who has a key opened for each of its requests writes no entry with each of them.
 *
 * 1. The first opening of an attempt is recorded before anything is given; those beside it wait for that. They, and those
 *    that follow within a minute, become one entry with a count at the minute's end, and at the vault's.
 * 2. What is opened for no attempt is recorded each time, and so is what goes beyond so many groups at a time.
 * 3. A count that cannot be recorded is counted as lost, and logged.
 */
import { systemActor } from "../../protocols/audit.ts";
import type { ErrorCode } from "../../protocols/errors.ts";
import type { Audit } from "../../runtime/audit.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { CredentialRequest } from "../../runtime/credential-source.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { Metrics } from "../../runtime/metrics.ts";

export interface OpeningsParts {
  readonly audit: Audit;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

interface Group {
  readonly request: CredentialRequest;
  readonly code: ErrorCode | undefined;
  readonly first: Promise<void>;
  /** Since the first. */
  count: number;
  stop: () => void;
}

const WINDOW_MS = 60_000;
const MAX_GROUPS = 4_096;

export class Openings {
  readonly #parts: OpeningsParts;
  readonly #maxGroups: number;
  readonly #groups = new Map<string, Group>();
  readonly #writing = new Set<Promise<void>>();

  constructor(parts: OpeningsParts, maxGroups = MAX_GROUPS) {
    this.#parts = parts;
    this.#maxGroups = maxGroups;
  }

  /** Resolves when it is recorded, itself or the first of its group. `code`: of the error with which it failed. */
  async record(request: CredentialRequest, code?: ErrorCode): Promise<void> {
    const name = JSON.stringify([request, code]);
    const group = this.#groups.get(name);
    if (group !== undefined) {
      group.count += 1;
      return await group.first; // 1
    }
    const first = this.#write(request, code);
    if (request.attempt === undefined || this.#groups.size >= this.#maxGroups) return await first; // 2
    const made: Group = { request, code, first, count: 0, stop: () => {} };
    this.#groups.set(name, made);
    try {
      await first;
    } catch (thrown) {
      this.#groups.delete(name);
      throw thrown;
    }
    made.stop = this.#parts.clock.after(WINDOW_MS, () => this.#end(name));
  }

  /** Records what was counted and not recorded yet. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#groups.values()].map(({ first }) => first));
    for (const name of [...this.#groups.keys()]) this.#end(name);
    await Promise.all(this.#writing);
  }

  #end(name: string): void {
    const group = this.#groups.get(name);
    if (group === undefined) return;
    group.stop();
    this.#groups.delete(name);
    const { request, code, count } = group;
    if (count === 0) return;
    const done = this.#write(request, code, count).catch((thrown: unknown) => {
      const { log, metrics } = this.#parts;
      metrics.count("berth_audit_lost_total"); // 3
      log.error({ err: thrown, ...request, code, count }, "openings of a key were not recorded");
    });
    this.#writing.add(done);
    void done.finally(() => this.#writing.delete(done));
  }

  #write(request: CredentialRequest, code: ErrorCode | undefined, count = 1): Promise<void> {
    const { tenant, user, provider, purpose, attempt } = request;
    return this.#parts.audit.record({
      tenant,
      actor: systemActor("vault"),
      act: "credential.deliver",
      target: purpose,
      outcome: "allowed",
      code,
      count,
      detail: { user, provider, ...(attempt === undefined ? {} : { attempt: `${attempt}` }) },
    });
  }
}
