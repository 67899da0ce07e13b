/**
 * How many API requests a gateway may let through on its own before it asks again.
 *
 * Invariants:
 * P1 What may have been let through within the last window counts. A block that a gateway has in hand counts in full until a
 *    window after it was last good; once the gateway has said how it ended, so many as were used until a window after the last use.
 * P2 What counts is never more than the limit. So no interval of a window's length sees more, wherever it begins.
 */
import type { EndedBlock } from "../../protocols/actors/user.ts";
import type { DeepReadonly } from "../../runtime/actor.ts";

/** Good until `until`. */
interface OpenBlock {
  block: number;
  count: number;
  until: number;
}

type Counted = [until: number, count: number];

interface Ledger {
  /** The next block's name. */
  next: number;
  open: OpenBlock[];
  /** How many count until when: of ended blocks. */
  counted: Counted[];
}
export type PermitLedger = DeepReadonly<Ledger>;

export interface PermitLimits {
  readonly limit: number;
  readonly windowMs: number;
}

export interface PermitBlock {
  readonly granted: number;
  readonly block: number;
  readonly goodMs: number;
  /** That neither count nor are given out. */
  readonly remaining: number;
  /** Until some of those that count do so no more. */
  readonly freesMs: number;
  readonly ledger: Ledger;
}

/** A window costs about so many asks while little of the limit is used. */
const BLOCKS_PER_WINDOW = 20;
/** Near the limit blocks shrink, so that no gateway sits on permits that another one is asked for; but not to single ones. */
const SHARE_OF_REST = 4;
const SMALLEST_SHARE = 200;
/** Uses are told apart so finely, to keep the record small. */
const SLICES_PER_WINDOW = 30;
/** A small block is soon used, so it need not be good for long: what nobody hears of again counts for less time. */
const SHORTEST_GOOD = 12;
/** A refused caller is told no shorter time, lest a user at its limit costs an ask each time. */
const SHORTEST_WAIT = 60;
/** Gateways that died, and answers that were lost, leave blocks open. */
const MAX_OPEN = 64;
/** Clocks are read in whole milliseconds here, in parts of them there. */
const TICK_MS = 1;

export function decidePermits(
  before: PermitLedger,
  ask: { readonly now: number; readonly ended: readonly EndedBlock[] },
  limits: PermitLimits,
): PermitBlock {
  const { limit, windowMs } = limits;
  const { next, open, counted } = settled(before, ask, windowMs);
  const left = leftOf({ next, open, counted }, limit);
  const full = limit / BLOCKS_PER_WINDOW;
  const share = Math.min(full, Math.max(left / SHARE_OF_REST, limit / SMALLEST_SHARE));
  const granted = Math.min(left, Math.ceil(share)); // P2
  const goodMs = windowMs * Math.max(1 / SHORTEST_GOOD, (granted - 1) / Math.ceil(full));
  const given = { block: next, count: granted, until: ask.now + goodMs + TICK_MS };
  const ledger = {
    next: next + 1,
    open: granted > 0 ? [...open, given] : open,
    counted,
  };
  const freesMs = freesIn(ledger, ask.now, windowMs);
  return { granted, block: next, goodMs, remaining: left - granted, freesMs, ledger };
}

/** What is left now, and how long no more than that. */
export function permitsAt(
  ledger: PermitLedger,
  now: number,
  { limit, windowMs }: PermitLimits,
): { readonly remaining: number; readonly freesMs: number } {
  const current = settled(ledger, { now, ended: [] }, windowMs);
  const isUnused = current.open.length + current.counted.length === 0;
  return {
    remaining: leftOf(current, limit),
    freesMs: isUnused ? 0 : freesIn(current, now, windowMs),
  };
}

/** P1. What was said of a block before changes nothing when it is said again; one that was a gateway's own has no name, and counts twice. */
function settled(
  ledger: PermitLedger,
  { now, ended }: { readonly now: number; readonly ended: readonly EndedBlock[] },
  windowMs: number,
): Ledger {
  const open = new Map(ledger.open.map((block) => [block.block, { ...block }]));
  const counted = ledger.counted.map(([until, count]): Counted => [until, count]);
  for (const { ago_ms, block, used } of ended) {
    const lastUse = now + TICK_MS - ago_ms;
    if (block === null) counted.push([lastUse + windowMs, used]);
    const known = block === null ? undefined : open.get(block);
    if (!known) continue;
    open.delete(known.block);
    const until = Math.min(lastUse, known.until) + windowMs;
    counted.push([until, Math.min(used, known.count)]);
  }
  const stillOpen = [...open.values()].filter(({ until }) => until + windowMs > now);
  const oldest = stillOpen.splice(0, Math.max(0, stillOpen.length - MAX_OPEN));
  for (const { count, until } of oldest) counted.push([until + windowMs, count]);
  const live = counted.filter(([until, count]) => until > now && count > 0);
  return { next: ledger.next, open: stillOpen, counted: inSlices(live, windowMs) };
}

/** One number for what ends in the same slice, until the last of it ends. */
function inSlices(counted: readonly Counted[], windowMs: number): Counted[] {
  const slices = new Map<number, Counted>();
  for (const [until, count] of counted) {
    const slice = Math.floor((until * SLICES_PER_WINDOW) / windowMs);
    const known = slices.get(slice) ?? [0, 0];
    slices.set(slice, [Math.max(known[0], until), known[1] + count]);
  }
  return [...slices.values()];
}

function leftOf({ counted, open }: PermitLedger, limit: number): number {
  const counts = [...open.map(({ count }) => count), ...counted.map(([, count]) => count)];
  return Math.max(0, limit - counts.reduce((sum, count) => sum + count, 0));
}

function freesIn({ counted, open }: PermitLedger, now: number, windowMs: number): number {
  const ends = [...open.map(({ until }) => until + windowMs), ...counted.map(([until]) => until)];
  return Math.max(windowMs / SHORTEST_WAIT, Math.min(...ends) - now);
}
