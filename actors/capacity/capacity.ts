/**
 * Capacity: the platform's gate for worker starts.
 *
 * 1. A worker is granted at most once between its `acquire` and its `release`; asking again gets the grant again.
 * 2. A start that nobody settles holds others up for `startTimeoutMs` at most; the worker still counts.
 */
import { z } from "zod";
import { Capacity, SUPERVISOR_KEY, Supervisor } from "../../protocols/actors/supervisor.ts";
import { tierSchema } from "../../protocols/tiers.ts";
import {
  type ActorDefinition,
  actor,
  type Context,
  type DeepReadonly,
} from "../../runtime/actor.ts";
import type { ActorOptions } from "../options.ts";
import { decideGrants } from "./decide-grants.ts";

const capacityStateSchema = z.object({
  /** In order of arrival. */
  waiting: z
    .array(
      z.object({
        worker: z.string(),
        tier: tierSchema,
        tenant: z.string(),
        user: z.string(),
        queued_at: z.number(),
      }),
    )
    .default([]),
  rotation: z.array(z.string()).default([]),
  /** Granted workers; since when each starts, or null once it has. */
  held: z.record(z.string(), z.object({ starting_since: z.number().nullable() })).default({}),
  ticking: z.boolean().default(false),
});
type CapacityState = z.infer<typeof capacityStateSchema>;
type Turn = Context<CapacityState, (typeof Capacity)["messages"]>;

export function capacityActor(options: ActorOptions): ActorDefinition {
  const { maxWorkers, startTimeoutMs } = options.capacity;
  return actor(Capacity, {
    state: capacityStateSchema,
    handlers: {
      acquire(ctx, { worker, tier, tenant, user }) {
        const { waiting, held } = ctx.state;
        if (held[worker]) grant(ctx, tenant, worker);
        else if (!waiting.some((entry) => entry.worker === worker)) {
          waiting.push({ worker, tier, tenant, user, queued_at: ctx.now });
        }
        pump(ctx, options);
      },
      settled(ctx, { worker }) {
        const held = ctx.state.held[worker];
        if (held) held.starting_since = null;
        pump(ctx, options);
      },
      release(ctx, { worker }) {
        delete ctx.state.held[worker];
        ctx.state.waiting = ctx.state.waiting.filter((entry) => entry.worker !== worker);
        pump(ctx, options);
      },
      tick(ctx) {
        ctx.state.ticking = false;
        for (const held of Object.values(ctx.state.held)) {
          const since = held.starting_since;
          if (since !== null && ctx.now >= since + startTimeoutMs) held.starting_since = null;
        }
        pump(ctx, options);
      },
      view({ state }) {
        const running = Object.keys(state.held).length;
        return {
          running,
          starting: startingIn(state),
          waiting: state.waiting.length,
          limit: maxWorkers,
        };
      },
    },
  });
}

function startingIn({ held }: DeepReadonly<CapacityState>): number {
  return Object.values(held).filter(({ starting_since }) => starting_since !== null).length;
}

function pump(ctx: Turn, { tiers, agePerSecond, capacity }: ActorOptions): void {
  const { state, now } = ctx;
  const { granted, waiting, rotation } = decideGrants(
    {
      waiting: state.waiting,
      rotation: state.rotation,
      held: Object.keys(state.held).length,
      starting: startingIn(state),
      now,
    },
    capacity,
    { priorityOf: (tier) => tiers[tier].priority, agePerSecond },
  );
  state.waiting = waiting;
  state.rotation = rotation;
  for (const { tenant, worker } of granted) {
    state.held[worker] = { starting_since: now };
    grant(ctx, tenant, worker);
  }
  if (state.ticking || startingIn(state) === 0) return;
  state.ticking = true;
  ctx.remind("tick", {}, { afterMs: capacity.startTimeoutMs });
}

function grant(ctx: Turn, tenant: string, worker: string): void {
  ctx.in(tenant).actor(Supervisor, SUPERVISOR_KEY).granted({ worker });
}
