/**
 * The runtime's own messages to an actor. They travel as mail on the lane `system`, that is on
 * `berth.mail.<tenant>.<kind>.<key>.system`, as the JSON envelope of any tell, and every kind of actor takes them,
 * whatever its standing: the runtime handles them itself. `$` starts no name of a protocol, so none can be shadowed.
 *
 * The first four may be sent by operators; the others pass between an actor and its children only.
 */
import { z } from "zod";

/** A cause: an error code, or a word of the actor's own, and a sentence for people. */
const cause = { code: z.string(), message: z.string() };
/** Of an order of a parent: a number that only grows, by which old orders and old failures are known. */
const order = { generation: z.number().optional(), acknowledge: z.boolean().optional() };

export const SYSTEM_MESSAGES = {
  /** Takes nothing but control mail and reads, until `until` (ms since the epoch) or `$unpark`. */
  $park: z.object({ ...cause, until: z.number().optional() }),
  $unpark: z.object({}),
  /** Takes nothing, until `until` or `$restart`; its tools are cancelled. */
  $stop: z.object({ ...cause, until: z.number().optional(), ...order }),
  /** Begins again, with its state or without it, as its kind declares; its tools are cancelled. */
  $restart: z.object(order),
} as const;

export type SystemType = keyof typeof SYSTEM_MESSAGES;
export type SystemPayload<T extends SystemType> = z.output<(typeof SYSTEM_MESSAGES)[T]>;

export function isSystemType(type: string): type is SystemType {
  return Object.hasOwn(SYSTEM_MESSAGES, type);
}
