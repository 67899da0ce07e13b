/** The actor that the simulator uses: a message for each promise, and a state from which each can be judged. */
import { z } from "zod";
import { ask, protocol, tell, tool } from "../../protocols/protocol.ts";
import { actor } from "../../runtime/actor.ts";

export const double = tool("cell.double", { n: z.number() }, { twice: z.number() });

export const Cell = protocol("cell", {
  write: ask({ value: z.number() }, {}),
  read: ask({}, { value: z.number() }, { readOnly: true }),
  add: ask({ n: z.number() }, { sum: z.number() }),
  sum: ask({}, { sum: z.number() }, { readOnly: true }),
  notes: ask({}, { notes: z.array(z.string()) }, { readOnly: true }),
  /** Keeps `text`; what starts with "poison" throws every time. */
  note: tell({ text: z.string() }),
  urgent: tell({ text: z.string() }, { lane: "control" }),
  /** Sends a note to each of `to`, and keeps that it did. */
  relay: tell({ text: z.string(), to: z.array(z.string()) }),
  remind: tell({ name: z.string(), afterMs: z.number() }),
  forget: tell({ name: z.string() }),
  ring: tell({ name: z.string(), at: z.number() }),
  run: tell({ n: z.number() }),
  ran: tell(double.result),
});

export const CellState = z.object({
  value: z.number().default(0),
  sum: z.number().default(0),
  notes: z.array(z.string()).default([]),
  relayed: z.array(z.string()).default([]),
  /** By reminder: how often it rang, and how late the last time. */
  rings: z.record(z.string(), z.tuple([z.number(), z.number()])).default({}),
  results: z.array(z.number()).default([]),
});
export type CellState = z.infer<typeof CellState>;

export const cell = actor(Cell, {
  state: CellState,
  passivateAfterMs: 5_000,
  supervision: {
    on: { default: "restart" },
    maxAttempts: 3,
    intensity: { failures: 50, withinMs: 10_000 },
    stopMs: 1_000,
    backoff: { initialMs: 50, maxMs: 400 },
  },
  handlers: {
    write(ctx, { value }) {
      ctx.state.value = value;
      return {};
    },
    read: (ctx) => ({ value: ctx.state.value }),
    add(ctx, { n }) {
      ctx.state.sum += n;
      return { sum: ctx.state.sum };
    },
    sum: (ctx) => ({ sum: ctx.state.sum }),
    notes: (ctx) => ({ notes: ctx.state.notes }),
    note(ctx, { text }) {
      ctx.state.notes.push(text);
      if (text.startsWith("poison")) throw new Error(`cannot bear ${text}`);
    },
    urgent(ctx, { text }) {
      ctx.state.notes.push(text);
    },
    relay(ctx, { text, to }) {
      for (const key of to) ctx.actor(Cell, key).note({ text });
      ctx.state.relayed.push(text);
    },
    remind(ctx, { name, afterMs }) {
      ctx.remind("ring", { name, at: ctx.now + afterMs }, { afterMs }, name);
    },
    forget(ctx, { name }) {
      ctx.forget(name);
    },
    ring(ctx, { name, at }) {
      const [count] = ctx.state.rings[name] ?? [0];
      ctx.state.rings[name] = [count + 1, ctx.now - at];
    },
    run(ctx, { n }) {
      ctx.execute(double, { n }, { reply: "ran" });
    },
    ran(ctx, { output }) {
      if (output) ctx.state.results.push(output.twice);
    },
  },
});
