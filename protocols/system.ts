/**
 * The runtime's own messages to an actor. They travel as mail on the lane `system`, that is on
 * `berth.mail.<tenant>.<kind>.<key>.system`, as the JSON envelope of any tell, and every kind of actor takes them,
 * whatever its standing: the runtime handles them itself. `$` starts no name of a protocol, so none can be shadowed.
 *
 * The first four may be sent by operators; the others pass between an actor and its children only, and name their sender
 * in `from`. An order of an actor that is not the parent is dropped.
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
  /** To a child: its sender supervises it from now on. */
  $adopt: z.object({ generation: z.number() }),
  $release: z.object({}),
  /** To a parent: its sender is another's child now. */
  $left: z.object({}),
  /** To a parent: its sender has given up and waits for a restart. */
  $failed: z.object({ ...cause, generation: z.number() }),
  /** To a parent: the order of that generation was obeyed. */
  $done: z.object({ generation: z.number() }),
  /** To itself, as a reminder: a child has not answered the order of that generation in time. */
  $late: z.object({ generation: z.number() }),
} as const;

export type SystemType = keyof typeof SYSTEM_MESSAGES;
export type SystemPayload<T extends SystemType> = z.output<(typeof SYSTEM_MESSAGES)[T]>;

export function isSystemType(type: string): type is SystemType {
  return Object.hasOwn(SYSTEM_MESSAGES, type);
}
