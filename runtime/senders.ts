/**
 * What an actor remembers of those who wrote to it, so that a message sent again is handled once (R3).
 *
 * A sender numbers what it sends, and numbers of one sender grow inside a lane, so the last number handled says it
 * all. Two generations of bounded size stand in the record: when the younger one is old or full, the older one is
 * dropped and only the time of its newest message stays. A message sent again that is younger than that was surely
 * never handled; of an older one nobody can say, and it becomes a dead letter instead of being handled twice.
 */
import { z } from "zod";
import type { ActorRef } from "../protocols/ids.ts";

/** By `tenant/kind/lane`, then by the sender's key, so that a commit with many senders stays small. */
const generationSchema = z.object({
  last: z.record(z.string(), z.record(z.string(), z.number())),
  count: z.number(),
  /** Greatest `sentAt` of the messages in it. */
  newest: z.number(),
});
type Generation = z.infer<typeof generationSchema>;

export const sendersSchema = z.object({
  young: generationSchema,
  old: generationSchema,
  /** When `young` began. */
  since: z.number(),
  /** Greatest `sentAt` of all that was dropped. */
  forgotten: z.number(),
});
export type Senders = z.infer<typeof sendersSchema>;

/** Time in memory after which a generation is old: far more than a recovery takes to send again. */
const GENERATION_MS = 60_000;
const GENERATION_SIZE = 1_024;

const emptyGeneration = (): Generation => ({ last: {}, count: 0, newest: 0 });

export function noSenders(): Senders {
  return { young: emptyGeneration(), old: emptyGeneration(), since: 0, forgotten: 0 };
}

export function remembers({ young, old, forgotten }: Senders): boolean {
  return young.count > 0 || old.count > 0 || forgotten > 0;
}

/** A message handled: who sent it on which lane, its number, and when. */
export interface Hearing {
  readonly from: ActorRef;
  readonly lane: string;
  readonly nth: number;
  readonly sentAt: number;
}

const placeOf = ({ from, lane }: Pick<Hearing, "from" | "lane">) =>
  `${from.tenant}/${from.kind}/${lane}`;

/** The last number of that sender on that lane; 0 when it is not remembered. */
export function lastHeard(senders: Senders, of: Pick<Hearing, "from" | "lane">): number {
  const place = placeOf(of);
  const { key } = of.from;
  return senders.young.last[place]?.[key] ?? senders.old.last[place]?.[key] ?? 0;
}

/** Adds what a commit has handled. Takes `senders` over: whoever calls uses the result only. */
export function addHeard(
  senders: Senders,
  heard: Iterable<Hearing>,
  at: { readonly now: number; readonly activeForMs: number },
): Senders {
  let next = senders;
  for (const hearing of heard) {
    if (isOver(next, at)) next = turned(next, at.now);
    note(next.young, hearing);
  }
  return next;
}

function note(generation: Generation, { nth, sentAt, ...of }: Hearing): void {
  const place = placeOf(of);
  generation.last[place] ??= {};
  const keys = generation.last[place];
  if (keys[of.from.key] === undefined) generation.count += 1;
  keys[of.from.key] = nth;
  generation.newest = Math.max(generation.newest, sentAt);
}

/** Time does not count in which the actor was not in memory: nobody could send to it again then. */
function isOver(
  { young, since }: Senders,
  { now, activeForMs }: { readonly now: number; readonly activeForMs: number },
): boolean {
  if (young.count >= GENERATION_SIZE) return true;
  return young.count > 0 && Math.min(now - since, activeForMs) > GENERATION_MS;
}

function turned({ young, old, forgotten }: Senders, now: number): Senders {
  return {
    young: emptyGeneration(),
    old: young,
    since: now,
    forgotten: Math.max(forgotten, old.newest),
  };
}
