/** Which waiting job goes to which worker. Order is `fair-order.ts`; the emptiest worker is taken first. */
import type { JobTicket } from "../../protocols/job.ts";
import { type FairPolicy, pickFair } from "../fair-order.ts";

export interface FreeSlots {
  readonly worker: string;
  readonly free: number;
}

export interface Dispatch {
  readonly assignments: readonly { readonly ticket: JobTicket; readonly worker: string }[];
  readonly queue: JobTicket[];
  readonly rotation: string[];
}

export function decideDispatch(
  place: {
    readonly queue: readonly JobTicket[];
    readonly rotation: readonly string[];
    readonly slots: readonly FreeSlots[];
    readonly now: number;
  },
  policy: FairPolicy,
): Dispatch {
  const slots = spread(place.slots);
  const turn = { rotation: place.rotation, count: slots.length, now: place.now };
  const { picked, rotation } = pickFair(place.queue, turn, policy);
  const taken = new Set(picked);
  return {
    assignments: picked.map((ticket, at) => ({ ticket, worker: slots[at] ?? "" })),
    queue: place.queue.filter((ticket) => !taken.has(ticket)),
    rotation,
  };
}

/** One entry per free slot; the worker with the most free ones first, so that load spreads. */
function spread(workers: readonly FreeSlots[]): string[] {
  const slots = workers.flatMap(({ worker, free }) =>
    Array.from({ length: free }, (_, at) => ({ worker, rank: free - at })),
  );
  return slots.toSorted((a, b) => b.rank - a.rank).map((slot) => slot.worker);
}
