/**
 * An actor's parent and children, as its record keeps them (R5).
 *
 * Invariants:
 * Y1 Every order to a child carries a generation, higher than any before. A child obeys each generation once, and what
 *    it reports names the last it has obeyed: a failure of before an order is known as old and counts no more (R3).
 * Y2 A plan sends its next order when the last is acknowledged, or late: children stop and restart one after the other.
 * Y3 All of it is changed by turns, so that it is committed with the orders it makes.
 */
import { z } from "zod";
import { refSchema } from "../protocols/envelope.ts";
import type { ActorRef } from "../protocols/ids.ts";
import { refName } from "../protocols/ids.ts";

const memberSchema = z.object({ ref: refSchema, generation: z.number() });

const planSchema = z.object({
  /** Orders that are still to be given. */
  steps: z.array(z.object({ order: z.enum(["stop", "restart"]), child: refSchema })),
  /** The order that was given last. */
  awaited: memberSchema.optional(),
  /** What this actor does itself when all orders are obeyed. */
  stop: z
    .object({ code: z.string(), message: z.string(), until: z.number().optional() })
    .optional(),
  escalate: z.boolean().optional(),
  acknowledge: z.number().optional(),
});
export type Plan = z.infer<typeof planSchema>;

export const familySchema = z.object({
  /** Who supervises this actor, and the generation of its last order. */
  parent: memberSchema.optional(),
  /** In the order in which they were supervised, each with the generation of the last order to it. */
  children: z.array(memberSchema).default([]),
  failedAt: z.array(z.number()).default([]),
  plan: planSchema.optional(),
  /** The children were stopped for good, so that their failures say nothing. */
  down: z.boolean().optional(),
});
export type Family = z.infer<typeof familySchema>;
export type Member = Family["children"][number];

export const NO_FAMILY: Family = { children: [], failedAt: [] };

export function isSame(a: ActorRef, b: ActorRef): boolean {
  return a.key === b.key && a.kind === b.kind && a.tenant === b.tenant;
}

export function childOf(family: Family, ref: ActorRef): Member | undefined {
  return family.children.find((child) => isSame(child.ref, ref));
}

/** Whether the record needs to name the family at all. */
export function isAlone({ children, down, parent, plan }: Family): boolean {
  return !parent && children.length === 0 && !plan && !down;
}

/** Names of children whose restart a plan has yet to order. */
export function pendingRestarts(plan: Plan | undefined): Set<string> {
  const restarts = plan?.steps.filter(({ order }) => order === "restart") ?? [];
  return new Set(restarts.map(({ child }) => refName(child)));
}
