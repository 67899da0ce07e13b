/**
 * The actor that `take-over` kills nodes under: every number that it must get right can be counted from outside. An
 * entry is a tell; each entry tells a mirror, so that outgoing mail is counted too.
 */
import { z } from "zod";
import { ask, protocol, tell } from "../protocols/protocol.ts";
import { actor } from "../runtime/actor.ts";

export const LedgerActor = protocol("bench-ledger", {
  count: ask({}, { counted: z.number() }),
  enter: tell({}),
  mirror: tell({}),
  totals: ask({}, { counted: z.number(), entered: z.number() }, { readOnly: true }),
});

const state = z.object({ counted: z.number().default(0), entered: z.number().default(0) });

/** The key of the actor that hears of each entry of `key`. */
export const mirrorOf = (key: string) => `${key}-mirror`;

export const ledgerActor = actor(LedgerActor, {
  state,
  handlers: {
    count(ctx) {
      ctx.state.counted += 1;
      return { counted: ctx.state.counted };
    },
    enter(ctx) {
      ctx.state.entered += 1;
      ctx.actor(LedgerActor, mirrorOf(ctx.self.key)).mirror({});
    },
    mirror(ctx) {
      ctx.state.entered += 1;
    },
    totals: ({ state: { counted, entered } }) => ({ counted, entered }),
  },
});
