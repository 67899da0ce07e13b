/**
 * Who is next: tiers by aged priority, inside a tier round robin over tenants, inside a tenant first come,
 * first served. Pure, and shared by the places (jobs) and capacity (worker starts).
 *
 * 1. A tenant is served at most once more before every tenant of its tier that waits has been served: a
 *    newcomer joins the rotation at its end, and who is served goes to the end.
 * 2. A tier's score grows with the wait of its oldest entry, so no tier starves.
 */
import type { Tier } from "../protocols/tiers.ts";

export interface Waiting {
  readonly tier: Tier;
  readonly tenant: string;
  readonly queued_at: number;
}

export interface FairPolicy {
  readonly priorityOf: (tier: Tier) => number;
  /** Points that a second of waiting adds to a tier's priority. */
  readonly agePerSecond: number;
}

export interface FairPick<T> {
  readonly picked: readonly T[];
  /** Pass it to the next call: tenants that still wait, next one first, as `tier/tenant`. */
  readonly rotation: string[];
}

/** Entries of one tenant in one tier, oldest first. */
interface Line<T> {
  readonly name: string;
  readonly tier: Tier;
  readonly entries: T[];
}

/** Takes up to `count` of `waiting` (which is in order of arrival). */
export function pickFair<T extends Waiting>(
  waiting: readonly T[],
  turn: { readonly rotation: readonly string[]; readonly count: number; readonly now: number },
  policy: FairPolicy,
): FairPick<T> {
  let lines = rotate(linesOf(waiting), turn.rotation);
  const picked: T[] = [];
  while (picked.length < turn.count) {
    const line = nextLine(lines, turn.now, policy);
    const entry = line?.entries.shift();
    if (!line || !entry) break;
    picked.push(entry);
    lines = lines.filter((other) => other !== line);
    if (line.entries.length > 0) lines.push(line);
  }
  return { picked, rotation: lines.map((line) => line.name) };
}

function linesOf<T extends Waiting>(waiting: readonly T[]): Map<string, Line<T>> {
  const lines = new Map<string, Line<T>>();
  for (const entry of waiting) {
    const name = `${entry.tier}/${entry.tenant}`;
    const line = lines.get(name);
    if (line) line.entries.push(entry);
    else lines.set(name, { name, tier: entry.tier, entries: [entry] });
  }
  return lines;
}

/** Lines in the order of the rotation, newcomers last in order of arrival (1). */
function rotate<T>(lines: Map<string, Line<T>>, rotation: readonly string[]): Line<T>[] {
  const known = rotation.flatMap((name) => lines.get(name) ?? []);
  const seen = new Set(rotation);
  return [...known, ...[...lines.values()].filter((line) => !seen.has(line.name))];
}

/** The first line of the tier with the highest score (2); equal scores go to the higher base priority. */
function nextLine<T extends Waiting>(
  lines: readonly Line<T>[],
  now: number,
  policy: FairPolicy,
): Line<T> | undefined {
  const oldest = new Map<Tier, number>();
  for (const { tier, entries } of lines) {
    const at = entries[0]?.queued_at ?? now;
    oldest.set(tier, Math.min(oldest.get(tier) ?? at, at));
  }
  let best: { readonly tier: Tier; readonly score: number } | undefined;
  for (const [tier, at] of oldest) {
    const score = agedPriority(tier, Math.max(0, now - at), policy);
    const higher = !best || score > best.score;
    const tied = best?.score === score && policy.priorityOf(tier) > policy.priorityOf(best.tier);
    if (higher || tied) best = { tier, score };
  }
  return lines.find((line) => line.tier === best?.tier);
}

/** The tier's priority after its oldest entry has waited so long. */
export function agedPriority(tier: Tier, waitedMs: number, policy: FairPolicy): number {
  return policy.priorityOf(tier) + (policy.agePerSecond * waitedMs) / 1_000;
}
