/** Reads the bodies of an inbox's next messages back from the broker when it runs low on them. */
import type { ActorRef } from "../protocols/ids.ts";
import { refName } from "../protocols/ids.ts";
import type { Clock } from "./clock.ts";
import type { Inbox, LaneName, Wanted } from "./inbox.ts";
import type { Logger } from "./logger.ts";
import type { Transport } from "./transport.ts";

export interface RefillParts {
  readonly ref: ActorRef;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Aborts when the partition is given up. */
  readonly signal: AbortSignal;
}

const AGAIN_MS = 200;
/**
 * A message that no copy shows and none disproves is waited for so long: longer than a leader that was cut off goes
 * on answering. Then somebody has purged it.
 */
const PATIENCE_MS = 15_000;

export class Refill {
  readonly #parts: RefillParts;
  readonly #inbox: Inbox;
  readonly #done: () => void;
  #isReading = false;
  #unreadSince: number | undefined;

  /** `done` is called after each reading, whatever came of it. */
  constructor(parts: RefillParts, inbox: Inbox, done: () => void) {
    this.#parts = parts;
    this.#inbox = inbox;
    this.#done = done;
  }

  /** Begins a reading if one is needed and none runs. */
  start(opened?: ReadonlySet<LaneName>): void {
    if (this.#isReading) return;
    const wanted = this.#inbox.wanted(opened);
    if (!wanted) return;
    this.#isReading = true;
    void this.#read(wanted).then(() => {
      this.#isReading = false;
      this.#done();
    });
  }

  /** Never rejects. */
  async #read({ lane, seqs }: Wanted): Promise<void> {
    const { clock, logger, ref, signal, transport } = this.#parts;
    try {
      const read = await transport.mailboxes.read(ref, lane, seqs);
      this.#inbox.takeIn(lane, read);
      if (read.found.length > 0 || read.gone.length > 0) this.#unreadSince = undefined;
      else await this.#missing(lane, seqs[0] ?? 0);
    } catch (thrown) {
      logger.info({ err: thrown, actor: refName(ref) }, "mail cannot be read yet");
      await clock.sleep(AGAIN_MS, signal);
    }
  }

  async #missing(lane: LaneName, seq: number): Promise<void> {
    const { clock, logger, ref, signal } = this.#parts;
    this.#unreadSince ??= clock.monotonic();
    if (clock.monotonic() - this.#unreadSince > PATIENCE_MS) {
      logger.warn({ actor: refName(ref), lane, seq }, "held mail has left the broker unhandled");
      this.#inbox.dropStub(lane, seq);
    }
    await clock.sleep(AGAIN_MS, signal);
  }
}
