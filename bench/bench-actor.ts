/** The actor that `ask` and `durable-turn` talk to: gives a text back, with or without storing something first. */
import { z } from "zod";
import { ask, protocol } from "../protocols/protocol.ts";
import { actor } from "../runtime/actor.ts";

export const BenchActor = protocol("bench", {
  echo: ask({ text: z.string() }, { text: z.string() }, { readOnly: true }),
  count: ask({ text: z.string() }, { total: z.number() }),
});

export const benchActor = actor(BenchActor, {
  state: z.object({ total: z.number().default(0), last: z.string().default("") }),
  handlers: {
    echo: (_ctx, { text }) => ({ text }),
    count(ctx, { text }) {
      ctx.state.total += 1;
      ctx.state.last = text;
      return { total: ctx.state.total };
    },
  },
});

/** The same, with a time of rest of the benchmark's own. */
export const RestingActor = protocol("bench-resting", {
  echo: ask({ text: z.string() }, { text: z.string() }, { readOnly: true }),
  count: ask({}, { total: z.number() }),
});

export const restingActor = (passivateAfterMs: number) =>
  actor(RestingActor, {
    state: z.object({ total: z.number().default(0) }),
    passivateAfterMs,
    handlers: {
      echo: (_ctx, { text }) => ({ text }),
      count(ctx) {
        ctx.state.total += 1;
        return { total: ctx.state.total };
      },
    },
  });

export const BENCH_TENANT = "bench";
/** What every ask carries, and every request of the raw peer. */
export const PAYLOAD = "x".repeat(128);
/** As in the question of the specification. */
export const IN_FLIGHT = 64;
