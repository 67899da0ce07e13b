/**
 * A time in which nobody owns a partition, so that no record is written and no mail is taken: all that is stored belongs together.
 * Nodes give everything up as in a drain and take it again afterwards; mail and callers wait.
 *
 * Invariants:
 * HO1 A hold ends by itself soon after whoever asked for it is gone: its key has a TTL.
 * HO2 One hold at a time: who finds another's is refused.
 * HO3 `quiet` says that nobody owned anything at that moment, by the broker's word and not by a view.
 */
import { asBerthError, BerthError } from "../protocols/errors.ts";
import {
  HOLD_KEY,
  type HoldRecord,
  nodeRecordSchema,
  partitionRecordSchema,
} from "../protocols/records.ts";
import type { Clock } from "./clock.ts";
import type { Buckets } from "./transport.ts";

interface Parts {
  readonly buckets: Pick<Buckets, "get" | "put" | "remove" | "list">;
  readonly clock: Clock;
}

/** Survives an election of the broker (about 5 s), and is over soon enough for those who wait. */
const TTL_MS = 15_000;
const RENEW_MS = 2_000;
const RETRY_MS = 200;
const LOOK_MS = 100;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class Hold {
  readonly #parts: Parts;
  readonly #record: HoldRecord;
  readonly #ended = new AbortController();
  readonly #stop = new AbortController();
  #revision = 0;
  #renewedAt = 0;
  #renewing: Promise<void> = Promise.resolve();

  private constructor(parts: Parts, by: string) {
    this.#parts = parts;
    this.#record = { by, since: parts.clock.now() };
  }

  /** Throws `backup.not_quiet` when there is one already (HO2). */
  static async place(parts: Parts, by: string): Promise<Hold> {
    const hold = new Hold(parts, by);
    try {
      await hold.#write(0);
    } catch (thrown) {
      const error = asBerthError(thrown);
      if (error.code !== "record.conflict") throw error;
      throw new BerthError("backup.not_quiet", "another hold is in force; it ends by itself");
    }
    hold.#renewing = hold.#renew();
    return hold;
  }

  /** Aborts when the hold is no longer known to be in force. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** Nodes take their partitions again. */
  async release(): Promise<void> {
    await this.abandon();
    // Refused or unanswered: it runs out (HO1).
    await this.#parts.buckets
      .remove("partitions", HOLD_KEY, { expected: this.#revision })
      .catch(() => undefined);
  }

  /** Renews it no more: its bucket is gone, and the key with it. */
  async abandon(): Promise<void> {
    this.#stop.abort();
    await this.#renewing;
  }

  async #write(expected: number): Promise<void> {
    const { buckets, clock } = this.#parts;
    const sentAt = clock.monotonic();
    const value = encoder.encode(JSON.stringify(this.#record));
    this.#revision = await buckets.put("partitions", HOLD_KEY, value, { expected, ttlMs: TTL_MS });
    this.#renewedAt = sentAt;
  }

  async #renew(): Promise<void> {
    const { clock } = this.#parts;
    let pause = RENEW_MS;
    for (;;) {
      await clock.sleep(pause, this.#stop.signal);
      if (this.#stop.signal.aborted) return;
      try {
        await this.#write(this.#revision);
        pause = RENEW_MS;
      } catch {
        pause = RETRY_MS;
        await this.#reconsider().catch(() => undefined);
        if (clock.monotonic() - this.#renewedAt < TTL_MS - RENEW_MS) continue;
        this.#ended.abort();
        return;
      }
    }
  }

  /** A renewal whose answer was lost has made our revision an old one. */
  async #reconsider(): Promise<void> {
    const found = await this.#parts.buckets.get("partitions", HOLD_KEY);
    const isOurs = found?.value && decoder.decode(found.value) === JSON.stringify(this.#record);
    if (isOurs) this.#revision = found.revision;
  }
}

/** HO3. Who owns partitions now, and which: by the claims and the leases that the broker has. */
async function owners({ buckets }: Parts): Promise<ReadonlyMap<string, number[]>> {
  const [nodes, claims] = await Promise.all([
    buckets.list("nodes", ""),
    buckets.list("partitions", ""),
  ]);
  const live = new Map(
    nodes.flatMap(({ value }) => {
      const lease = nodeRecordSchema.safeParse(parse(value));
      return lease.success ? [[lease.data.id, lease.data.incarnation] as const] : [];
    }),
  );
  const found = new Map<string, number[]>();
  for (const { key, value } of claims) {
    const claim = partitionRecordSchema.safeParse(parse(value));
    if (!claim.success || claim.data.node === null) continue;
    const { incarnation, node } = claim.data;
    if (live.get(node) !== incarnation) continue;
    found.set(node, [...(found.get(node) ?? []), Number(key)]);
  }
  return found;
}

/** Resolves when nobody owns anything (HO3). Throws `backup.not_quiet` with who still does after `withinMs`. */
export async function quiet(
  parts: Parts,
  { withinMs, signal }: { readonly withinMs: number; readonly signal: AbortSignal },
): Promise<void> {
  const { clock } = parts;
  const until = clock.monotonic() + withinMs;
  for (;;) {
    const found = await owners(parts);
    if (found.size === 0) return;
    signal.throwIfAborted();
    if (clock.monotonic() > until) {
      const who = [...found].map(([node, held]) => `${node} (${held.join(", ")})`).join("; ");
      throw new BerthError(
        "backup.not_quiet",
        `nodes keep partitions: ${who}. Are they of a build that knows no hold?`,
      );
    }
    await clock.sleep(LOOK_MS, signal);
  }
}

function parse(value: Uint8Array | undefined): unknown {
  try {
    return value && JSON.parse(decoder.decode(value));
  } catch {
    return undefined;
  }
}
