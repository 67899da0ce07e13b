/**
 * A request that is sent again while its answer is out, for what a worker says to whoever owns an actor. The broker hands each
 * sending to one of those that listen. One that stands still listens until the broker finds its connection dead, which may
 * be half a minute after another has taken its partitions over: until then every other sending is lost with it.
 *
 * Invariants:
 * G1 the answer to any sending is the answer to all, also a late one: an owner that is slow is heard.
 * G2 each pause is twice the one before, so that a slow owner is not flooded.
 * G3 it is over with its time, or once one sending fails: whoever made it begins anew.
 */
import type { Clock } from "../runtime/clock.ts";
import type { UplinkWire } from "./uplink.ts";

/** An answer takes a commit: later than this, it is more likely lost than on its way. */
const FIRST_PAUSE_MS = 500;

export interface RepeatedRequest {
  readonly subject: string;
  readonly data: Uint8Array;
  /** What further sendings say. */
  readonly again: () => Uint8Array;
  readonly timeoutMs: number;
}

/** Rejects as the wire does. */
export function requestRepeatedly(
  { clock, wire }: { readonly clock: Clock; readonly wire: Pick<UplinkWire, "request"> },
  { subject, data, again, timeoutMs }: RepeatedRequest,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    let cancel = () => {};
    const send = (sending: Uint8Array, elapsedMs: number, pauseMs: number) => {
      const nextMs = elapsedMs + pauseMs;
      if (nextMs < timeoutMs)
        cancel = clock.after(pauseMs, () => send(again(), nextMs, 2 * pauseMs)); // G2
      wire
        .request(subject, sending, timeoutMs - elapsedMs)
        .finally(() => cancel()) // G3
        .then(resolve, reject); // G1
    };
    send(data, 0, FIRST_PAUSE_MS);
  });
}
