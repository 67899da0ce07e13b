/** Follows every record that is stored: epochs and commit numbers of one actor never go back (R1). */
import { DeliverPolicy, jetstream } from "@nats-io/jetstream";
import { systemClock } from "../../runtime/clock.ts";
import type { NatsTransport } from "../../runtime/nats/transport.ts";
import { decodeRecord } from "../../runtime/record.ts";

interface Seen {
  readonly epoch: number;
  readonly commit: number;
  readonly writer: string;
}

const RETRY_MS = 500;
const KEPT_FLAWS = 20;

export class RecordWatch {
  readonly #transport: NatsTransport;
  readonly #seen = new Map<string, Seen>();
  readonly #flaws: string[] = [];
  #revision = 0;
  #count = 0;

  constructor(transport: NatsTransport) {
    this.#transport = transport;
  }

  get flaws(): readonly string[] {
    return this.#flaws;
  }

  /** Records that were looked at. */
  get count(): number {
    return this.#count;
  }

  /** Until `signal` aborts; begins again where it was when the consumer is lost. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#follow(signal).catch(() => undefined);
      await systemClock.sleep(RETRY_MS, signal);
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const js = jetstream(this.#transport.connection, { timeout: 5_000 });
    const consumer = await js.consumers.get("KV_berth-actors", {
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: this.#revision + 1,
    });
    const messages = await consumer.consume({ max_messages: 1_000 });
    const stop = () => void messages.close();
    signal.addEventListener("abort", stop, { once: true });
    for await (const message of messages) {
      if (message.seq <= this.#revision) continue; // A consumer that began again.
      this.#revision = message.seq;
      if (message.data.length > 0) this.#look(message.subject, message.data);
    }
    signal.removeEventListener("abort", stop);
  }

  /** A stream keeps the newest of each subject: some may be missed, none come out of order. */
  #look(subject: string, data: Uint8Array): void {
    const { commit, epoch, writer } = decodeRecord(data);
    this.#count += 1;
    const before = this.#seen.get(subject);
    this.#seen.set(subject, { epoch, commit, writer });
    if (!before || this.#flaws.length >= KEPT_FLAWS) return;
    const place = `${subject}: commit ${before.commit} of epoch ${before.epoch}, then ${commit} of ${epoch}`;
    if (epoch < before.epoch) this.#flaws.push(`an older epoch wrote after a newer (${place})`);
    else if (epoch === before.epoch && writer !== before.writer)
      this.#flaws.push(`two writers in one epoch (${place})`);
    else if (commit <= before.commit) this.#flaws.push(`a commit was overwritten (${place})`);
  }
}
