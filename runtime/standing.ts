/**
 * Whether an actor takes messages at all: part of its record, so that it outlives nodes (R5).
 *
 * `active` takes everything. `parked` waits for something outside to be put right (a rate limit, an expired login, a
 * spent budget, a person): it takes the runtime's mail, control mail and reads. `stopped` has given up: it takes the
 * runtime's mail alone. What is not taken stays in the broker, in order. A standing whose `until` has passed counts as
 * over without a write; the next commit takes it out of the record.
 */
import { z } from "zod";
import { BerthError } from "../protocols/errors.ts";
import type { AskItem, Item, LaneName } from "./inbox.ts";

export const standingSchema = z.object({
  state: z.enum(["parked", "stopped"]),
  /** Why, for people and for programs: an error code, or a word of the actor's own. */
  code: z.string(),
  message: z.string(),
  /** Milliseconds since the epoch; without `until` it lasts until somebody ends it. */
  since: z.number(),
  until: z.number().optional(),
});
export type Standing = z.infer<typeof standingSchema>;

export type StandingEvent =
  | {
      readonly type: "park" | "stop";
      readonly code: string;
      readonly message: string;
      readonly until?: number | undefined;
    }
  | { readonly type: "unpark" | "restart" };

type State = Standing["state"] | "active";

/** A stop is stronger than parking: only a restart ends it. */
const NEXT: Readonly<Record<State, Readonly<Record<StandingEvent["type"], State>>>> = {
  active: { park: "parked", stop: "stopped", unpark: "active", restart: "active" },
  parked: { park: "parked", stop: "stopped", unpark: "active", restart: "active" },
  stopped: { park: "stopped", stop: "stopped", unpark: "stopped", restart: "active" },
};

/** The standing after an event; undefined is active. Pure. */
export function decideStanding(
  from: Standing | undefined,
  event: StandingEvent,
  now: number,
): Standing | undefined {
  const present = standingAt(from, now);
  const state = NEXT[present?.state ?? "active"][event.type];
  if (state === "active") return undefined;
  if (!("code" in event) || (state === "stopped" && event.type === "park")) return present;
  const { code, message, until } = event;
  return { state, code, message, since: now, ...(until === undefined ? {} : { until }) };
}

/** What still holds at `now`. */
export function standingAt(standing: Standing | undefined, now: number): Standing | undefined {
  return standing?.until !== undefined && standing.until <= now ? undefined : standing;
}

const OPENED: Readonly<Record<State, ReadonlySet<LaneName>>> = {
  active: new Set(["system", "control", "due", "user", "background"]),
  parked: new Set(["system", "control"]),
  stopped: new Set(["system"]),
};

/** The lanes whose mail an actor of this standing takes. */
export function openedLanes(standing: Standing | undefined): ReadonlySet<LaneName> {
  return OPENED[standing?.state ?? "active"];
}

export function admits(standing: Standing | undefined, item: Item): boolean {
  if (!standing) return true;
  if (item.type === "mail") return openedLanes(standing).has(item.mail.lane);
  return standing.state === "parked" && item.def.readOnly;
}

/** Whether a read must come after mail that this standing holds back (R4): it would wait for nothing. */
export function isHeldBack(
  standing: Standing | undefined,
  { request }: AskItem,
  cursor: Readonly<Record<string, number>>,
): boolean {
  if (!standing || !request.after) return false;
  const opened: ReadonlySet<string> = openedLanes(standing);
  return Object.entries(request.after).some(
    ([lane, seq]) => !opened.has(lane) && (cursor[lane] ?? 0) < seq,
  );
}

/** What an ask that is not taken is told, with the time after which it may be. */
export function refusalOf({ state, code, message, until }: Standing, now: number): BerthError {
  const when = until === undefined ? "" : `, until ${new Date(until).toISOString()}`;
  return new BerthError(`actor.${state}`, `${state} by ${code}${when}: ${message}`, {
    retryAfterMs: until === undefined ? undefined : Math.max(0, until - now),
  });
}
