/**
 * Which waiting job goes to which worker. Order is `fair-order.ts`; the emptiest worker is taken first.
 *
 * 1. A job whose agent holds keys runs beside jobs of its own user alone: agents of one worker are one user to the
 *    kernel, and could read each other's environment.
 * 2. A job that no worker may take now holds up those behind it, or the jobs of who got a worker first would keep it for good.
 */
import type { JobTicket } from "../../protocols/job.ts";
import { type FairPolicy, pickFair } from "../fair-order.ts";

type Neighbour = Pick<JobTicket, "tenant" | "user" | "keys">;

export interface FreeSlots {
  readonly worker: string;
  readonly free: number;
  /** What runs there. */
  readonly jobs?: readonly Neighbour[];
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
  const count = place.slots.reduce((sum, { free }) => sum + free, 0);
  const pick = (most: number) =>
    pickFair(place.queue, { rotation: place.rotation, count: most, now: place.now }, policy);
  const { picked, rotation } = pick(count);
  const assignments = assign(picked, place.slots);
  const taken = new Set(assignments.map(({ ticket }) => ticket));
  return {
    assignments,
    queue: place.queue.filter((ticket) => !taken.has(ticket)),
    rotation: taken.size === picked.length ? rotation : pick(taken.size).rotation,
  };
}

/** Whether two jobs may run side by side (1). */
export function mayShare(one: Neighbour, other: Neighbour): boolean {
  if (one.keys !== true && other.keys !== true) return true;
  return isSameUser(one, other);
}

function isSameUser(one: Neighbour, other: Neighbour): boolean {
  return one.tenant === other.tenant && one.user === other.user;
}

/** Up to the first that fits nowhere (2). */
function assign(picked: readonly JobTicket[], slots: readonly FreeSlots[]) {
  const workers = slots.map(({ worker, free, jobs = [] }) => ({ worker, free, jobs: [...jobs] }));
  const assignments: { readonly ticket: JobTicket; readonly worker: string }[] = [];
  for (const ticket of picked) {
    const open = workers.filter(
      ({ free, jobs }) => free > 0 && jobs.every((job) => mayShare(job, ticket)),
    );
    // Beside its own user's jobs one that holds keys takes no worker away from another user.
    const own = open.filter(({ jobs }) => jobs.some((job) => isSameUser(job, ticket)));
    const best = emptiest(ticket.keys === true && own.length > 0 ? own : open);
    if (best === undefined) break;
    assignments.push({ ticket, worker: best.worker });
    best.free -= 1;
    best.jobs.push(ticket);
  }
  return assignments;
}

function emptiest<T extends { readonly free: number }>(workers: readonly T[]): T | undefined {
  const most = Math.max(...workers.map(({ free }) => free));
  return workers.find(({ free }) => free === most);
}
