/**
 * Sends what a commit recorded. Runs after the commit, and again after a crash: every entry is safe to send
 * twice. Entries to one target keep their order (R4); different targets go side by side.
 */
import { asBerthError, BerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import { refName } from "../protocols/ids.ts";
import type { Bucket } from "../protocols/subjects.ts";
import type { Clock } from "./clock.ts";
import { unsentLetter } from "./dead-letters.ts";
import type { Logger } from "./logger.ts";
import type { OutboxEntry } from "./record.ts";
import type { Transport } from "./transport.ts";

interface Collaborators {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
}

const FIRST_PAUSE_MS = 20;
const MAX_PAUSE_MS = 1_000;
/** A full mailbox is waited for this long; then the message becomes a dead letter (R2, R7). */
const FULL_PATIENCE_MS = 30_000;
const MAX_PATCH_ATTEMPTS = 10;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const encodeJson = (value: unknown) => encoder.encode(JSON.stringify(value));

export class Outbox {
  readonly #parts: Collaborators;
  #backlog = 0;

  constructor(parts: Collaborators) {
    this.#parts = parts;
  }

  /** Entries committed and not stored by their receivers yet, of all actors. */
  get backlog(): number {
    return this.#backlog;
  }

  /**
   * `again` says that this may have been sent before; `stored` is told of each entry when it is. Resolves when all are.
   * Rejects with `lease.lost` when `signal` aborts before.
   */
  async publish(
    self: ActorRef,
    entries: readonly OutboxEntry[],
    options: { readonly again: boolean; readonly signal: AbortSignal },
    stored: (entry: OutboxEntry) => void,
  ): Promise<void> {
    const chains = new Map<string, Promise<void>>();
    this.#backlog += entries.length;
    let open = entries.length;
    const confirm = (entry: OutboxEntry) => {
      stored(entry);
      if (open === 0) return;
      this.#backlog -= 1;
      open -= 1;
    };
    for (const entry of entries) {
      const target = targetOf(self, entry);
      const before = chains.get(target);
      // The first of a target starts within this tick, so that one connection keeps the causal order.
      const send = () => this.#persist(self, entry, options).then(() => confirm(entry));
      chains.set(target, before ? before.then(send) : send());
    }
    try {
      await Promise.all(chains.values());
    } finally {
      this.#backlog -= open; // What was given up is counted by its next owner.
      open = 0;
    }
  }

  async #persist(
    self: ActorRef,
    entry: OutboxEntry,
    { again, signal }: { readonly again: boolean; readonly signal: AbortSignal },
  ): Promise<void> {
    const { clock } = this.#parts;
    const startedAt = clock.monotonic();
    let mayBeStored = again;
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(MAX_PAUSE_MS, pause * 2)) {
      try {
        await this.#send(self, entry, mayBeStored);
        return;
      } catch (thrown) {
        const error = asBerthError(thrown);
        mayBeStored ||= error.code !== "actor.mailbox_full";
        const waitedMs = clock.monotonic() - startedAt;
        if (isHopeless(entry, error, waitedMs) && (await this.#giveUp(self, entry, error))) return;
        if (signal.aborted) throw new BerthError("lease.lost", "given up", { cause: thrown });
        await clock.sleep(pause, signal);
      }
    }
  }

  /** An entry that the broker will never take must not hold its actor for ever: a message gets a letter (R2). */
  async #giveUp(self: ActorRef, entry: OutboxEntry, error: BerthError): Promise<boolean> {
    const { clock, logger, transport } = this.#parts;
    logger.error({ err: error, actor: refName(self), op: entry.op }, "an entry cannot be sent");
    if (entry.op !== "tell") return true;
    try {
      const { to, lane, envelope } = entry;
      await transport.mailboxes.deadLetter(unsentLetter(to, lane, envelope, error, clock.now()));
      return true;
    } catch (thrown) {
      return asBerthError(thrown).retry === "never";
    }
  }

  async #send(self: ActorRef, entry: OutboxEntry, again: boolean): Promise<void> {
    const { mailboxes, buckets } = this.#parts.transport;
    switch (entry.op) {
      case "tell":
        await mailboxes.send(
          entry.to,
          entry.lane,
          again ? { ...entry.envelope, again } : entry.envelope,
        );
        return;
      case "remind":
        await mailboxes.schedule(self, entry.due, entry.at);
        return;
      case "forget":
        await mailboxes.unschedule(self, entry.name);
        return;
      case "dead":
        await mailboxes.deadLetter(entry.letter);
        return;
      case "put":
        if (entry.mode === "remove") await buckets.remove(entry.bucket, entry.key);
        else if (entry.mode === "set")
          await buckets.put(entry.bucket, entry.key, encodeJson(entry.value));
        else if (entry.mode === "create") await this.#create(entry.bucket, entry.key, entry.value);
        else await this.#patch(entry.bucket, entry.key, entry.value);
        return;
    }
  }

  async #create(bucket: Bucket, key: string, value: unknown): Promise<void> {
    try {
      await this.#parts.transport.buckets.put(bucket, key, encodeJson(value), { expected: 0 });
    } catch (thrown) {
      if (!(thrown instanceof BerthError) || thrown.code !== "record.conflict") throw thrown;
    }
  }

  async #patch(bucket: Bucket, key: string, value: unknown): Promise<void> {
    const { buckets } = this.#parts.transport;
    for (let attempt = 1; ; attempt += 1) {
      const found = await buckets.get(bucket, key);
      if (!found?.value) return; // Removed meanwhile: a patch does not bring it back.
      const before: unknown = JSON.parse(decoder.decode(found.value));
      const merged = { ...(before as object), ...(value as object) };
      try {
        await buckets.put(bucket, key, encodeJson(merged), { expected: found?.revision ?? 0 });
        return;
      } catch (thrown) {
        const lost = thrown instanceof BerthError && thrown.code === "record.conflict";
        if (!lost || attempt >= MAX_PATCH_ATTEMPTS) throw thrown;
      }
    }
  }
}

function targetOf(self: ActorRef, entry: OutboxEntry): string {
  switch (entry.op) {
    case "tell":
      return refName(entry.to);
    case "put":
      return `${entry.bucket}:${entry.key}`;
    case "remind":
      return `${refName(self)}#${entry.due.name}`;
    case "forget":
      return `${refName(self)}#${entry.name}`;
    case "dead":
      return "dead-letters";
  }
}

function isHopeless(entry: OutboxEntry, error: BerthError, waitedMs: number): boolean {
  if (error.retry === "never") return true;
  return error.code === "actor.mailbox_full" && entry.op === "tell" && waitedMs > FULL_PATIENCE_MS;
}
