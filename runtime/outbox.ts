/**
 * Sends what a commit recorded. Runs after the commit, and again after a crash: every entry is safe to send
 * twice. Entries to one target keep their order (R4); different targets go side by side.
 */
import { BerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import { refName } from "../protocols/ids.ts";
import type { Bucket } from "../protocols/subjects.ts";
import type { Clock } from "./clock.ts";
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

  constructor(parts: Collaborators) {
    this.#parts = parts;
  }

  /** Resolves when every entry is stored. Rejects with `lease.lost` when `signal` aborts before. */
  async publish(
    self: ActorRef,
    entries: readonly OutboxEntry[],
    signal: AbortSignal,
  ): Promise<void> {
    const chains = new Map<string, Promise<void>>();
    for (const entry of entries) {
      const target = targetOf(self, entry);
      const before = chains.get(target);
      // The first of a target starts within this tick, so that one connection keeps the causal order.
      const send = () => this.#persist(self, entry, signal);
      chains.set(target, before ? before.then(send) : send());
    }
    await Promise.all(chains.values());
  }

  async #persist(self: ActorRef, entry: OutboxEntry, signal: AbortSignal): Promise<void> {
    const { clock, logger, transport } = this.#parts;
    const startedAt = clock.monotonic();
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(MAX_PAUSE_MS, pause * 2)) {
      try {
        await this.#send(self, entry);
        return;
      } catch (thrown) {
        if (signal.aborted) throw new BerthError("lease.lost", "given up", { cause: thrown });
        if (!(thrown instanceof BerthError) || thrown.retry === "never") {
          logger.error(
            { err: thrown, actor: refName(self), op: entry.op },
            "an outgoing entry was refused",
          );
          throw thrown;
        }
        const waited = clock.monotonic() - startedAt;
        if (
          thrown.code === "actor.mailbox_full" &&
          entry.op === "tell" &&
          waited > FULL_PATIENCE_MS
        ) {
          await transport.mailboxes.deadLetter(fullLetter(entry, thrown, clock.now()));
          return;
        }
        await clock.sleep(pause, signal);
      }
    }
  }

  async #send(self: ActorRef, entry: OutboxEntry): Promise<void> {
    const { mailboxes, buckets } = this.#parts.transport;
    switch (entry.op) {
      case "tell":
        await mailboxes.send(entry.to, entry.lane, entry.envelope);
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
      const before: unknown = found?.value ? JSON.parse(decoder.decode(found.value)) : {};
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

function fullLetter(entry: OutboxEntry & { op: "tell" }, error: BerthError, at: number) {
  return {
    id: entry.envelope.id,
    actor: entry.to,
    lane: entry.lane,
    envelope: entry.envelope,
    reason: { code: error.code, message: error.message },
    epoch: 0,
    attempts: 0,
    at,
  };
}
