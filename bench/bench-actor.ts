/** The actors that the benchmarks talk to: they give a text back, with or without storing something first. */
import { z } from "zod";
import { ask, protocol, tell } from "../protocols/protocol.ts";
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

/** What `turn-profile` looks into: a turn of each kind. */
export const ProfiledActor = protocol("bench-profiled", {
  echo: ask({ text: z.string() }, { text: z.string() }, { readOnly: true }),
  count: ask({ text: z.string() }, { total: z.number() }),
  tally: tell({ text: z.string() }),
});

export const profiledActor = actor(ProfiledActor, {
  state: z.object({ total: z.number().default(0), last: z.string().default("") }),
  handlers: {
    echo: (_ctx, { text }) => ({ text }),
    count(ctx, { text }) {
      ctx.state.total += 1;
      ctx.state.last = text;
      return { total: ctx.state.total };
    },
    tally(ctx, { text }) {
      ctx.state.total += 1;
      ctx.state.last = text;
    },
  },
});

export const BENCH_TENANT = "bench";
/** What every ask carries, and every request of the raw peer. */
export const PAYLOAD = "x".repeat(128);
/** As in the question of the specification. */
export const IN_FLIGHT = 64;
