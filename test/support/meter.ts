/** An actor of constant size for tests of load: counts what it is sent, and notes what came out of order. */
import { z } from "zod";
import { ask, protocol, tell } from "../../protocols/protocol.ts";
import { type ActorDefinition, actor } from "../../runtime/actor.ts";
import type { Supervision } from "../../runtime/supervision.ts";

const numbered = { n: z.number().int() };

export const Meter = protocol("meter", {
  /** Numbers that only grow, from 0; -1 throws. */
  hit: tell(numbered),
  urgent: tell(numbered, { lane: "control" }),
  later: tell(numbered, { lane: "background" }),
  /** Counts, and returns the count. */
  add: ask({}, { count: z.number() }),
  /** Keeps the processor busy for so long, and changes nothing. */
  grind: ask({ ms: z.number() }, {}),
  read: ask(
    {},
    {
      count: z.number(),
      hits: z.number(),
      last: z.number(),
      disorder: z.number(),
      urgentAfter: z.number(),
    },
    { readOnly: true },
  ),
});

export function meter(options: { readonly supervision?: Supervision } = {}): ActorDefinition {
  return actor(Meter, {
    state: z.object({
      count: z.number().default(0),
      hits: z.number().default(0),
      last: z.number().default(-1),
      disorder: z.number().default(0),
      /** Of other mail, how much was handled before the urgent message. */
      urgentAfter: z.number().default(-1),
    }),
    ...options,
    handlers: {
      hit(ctx, { n }) {
        if (n < 0) throw new Error("told to fail");
        if (n !== ctx.state.last + 1) ctx.state.disorder += 1;
        ctx.state.last = n;
        ctx.state.hits += 1;
      },
      urgent(ctx) {
        ctx.state.urgentAfter = ctx.state.hits;
      },
      later(ctx, { n }) {
        if (n !== ctx.state.last + 1) ctx.state.disorder += 1;
        ctx.state.last = n;
        ctx.state.hits += 1;
      },
      add(ctx) {
        ctx.state.count += 1;
        return { count: ctx.state.count };
      },
      grind(_ctx, { ms }) {
        const until = performance.now() + ms;
        while (performance.now() < until);
        return {};
      },
      read: (ctx) => ({ ...ctx.state }),
    },
  });
}
