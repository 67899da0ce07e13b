/** Actors that notice by themselves what a broken promise would do to them. */
import { z } from "zod";
import { ask, protocol, tell } from "../../protocols/protocol.ts";
import { type ActorDefinition, actor } from "../../runtime/actor.ts";
import { DEFAULT_SUPERVISION } from "../../runtime/supervision.ts";

export const Counter = protocol("chaos-counter", {
  add: ask({ n: z.number() }, { total: z.number() }),
  read: ask({}, { total: z.number() }, { readOnly: true }),
});

const counter = actor(Counter, {
  state: z.object({ total: z.number().default(0) }),
  handlers: {
    add(ctx, { n }) {
      ctx.state.total += n;
      return { total: ctx.state.total };
    },
    read: (ctx) => ({ total: ctx.state.total }),
  },
});

const value = z.string().nullable();

export const Register = protocol("chaos-register", {
  write: ask({ value: z.string() }, {}),
  cas: ask({ from: value, to: z.string() }, { wrote: z.boolean() }),
  read: ask({}, { value }, { readOnly: true }),
});

const register = actor(Register, {
  state: z.object({ value: value.default(null) }),
  handlers: {
    write(ctx, input) {
      ctx.state.value = input.value;
      return {};
    },
    cas(ctx, { from, to }) {
      const wrote = ctx.state.value === from;
      if (wrote) ctx.state.value = to;
      return { wrote };
    },
    read: (ctx) => ({ value: ctx.state.value }),
  },
});

/** Numbers heard from one sender, who counts 1, 2, 3 ... */
const heardSchema = z.object({
  last: z.number().default(0),
  /** Jumped over, and not heard since. */
  missing: z.array(z.number()).default([]),
  /** Heard after a higher one (R4). */
  late: z.array(z.number()).default([]),
  /** Heard more than once (R3). */
  doubled: z.array(z.number()).default([]),
});
export type Heard = z.infer<typeof heardSchema>;
const heardBySender = z.record(z.string(), heardSchema);

/** Enough to tell what went wrong; a state must not grow with the mistakes in it. */
const MAX_NOTES = 100;
const note = (list: number[], n: number) => {
  if (list.length < MAX_NOTES) list.push(n);
};

function hear(all: Record<string, Heard>, sender: string, n: number): void {
  const heard = all[sender] ?? { last: 0, missing: [], late: [], doubled: [] };
  all[sender] = heard;
  if (n > heard.last) {
    for (let skipped = heard.last + 1; skipped < n; skipped += 1) note(heard.missing, skipped);
    heard.last = n;
  } else if (heard.missing.includes(n)) {
    heard.missing = heard.missing.filter((each) => each !== n);
    note(heard.late, n);
  } else note(heard.doubled, n);
}

export const Ledger = protocol("chaos-ledger", {
  note: tell({ sender: z.string(), n: z.number() }),
  read: ask({}, { heard: heardBySender }, { readOnly: true }),
});

const ledger = actor(Ledger, {
  state: z.object({ heard: heardBySender.default({}) }),
  handlers: {
    note(ctx, { sender, n }) {
      hear(ctx.state.heard, sender, n);
    },
    read: (ctx) => ({ heard: ctx.state.heard }),
  },
});

/** Tells a ledger once for each tell it gets, with numbers of its own. */
export const Relay = protocol("chaos-relay", {
  forward: tell({ sender: z.string(), n: z.number(), to: z.string() }),
  read: ask({}, { heard: heardBySender, sent: z.number() }, { readOnly: true }),
});

const relay = actor(Relay, {
  state: z.object({ heard: heardBySender.default({}), sent: z.number().default(0) }),
  handlers: {
    forward(ctx, { sender, n, to }) {
      hear(ctx.state.heard, sender, n);
      ctx.state.sent += 1;
      ctx.actor(Ledger, to).note({ sender: `relay:${ctx.self.key}`, n: ctx.state.sent });
    },
    read: (ctx) => ({ heard: ctx.state.heard, sent: ctx.state.sent }),
  },
});

const ringSchema = z.object({
  dueAt: z.number(),
  rangAt: z.number().optional(),
  cancelledAt: z.number().optional(),
  rings: z.number(),
});
export type Ring = z.infer<typeof ringSchema>;

export const Alarm = protocol("chaos-alarm", {
  set: tell({ name: z.string(), afterMs: z.number() }),
  cancel: tell({ name: z.string() }),
  rang: tell({ name: z.string() }),
  read: ask({}, { rings: z.record(z.string(), ringSchema) }, { readOnly: true }),
});

const alarm = actor(Alarm, {
  state: z.object({ rings: z.record(z.string(), ringSchema).default({}) }),
  handlers: {
    set(ctx, { name, afterMs }) {
      ctx.state.rings[name] = { dueAt: ctx.now + afterMs, rings: 0 };
      ctx.remind("rang", { name }, { afterMs }, name);
    },
    cancel(ctx, { name }) {
      const ring = ctx.state.rings[name];
      if (ring && ring.rings === 0) ring.cancelledAt = ctx.now;
      ctx.forget(name);
    },
    rang(ctx, { name }) {
      const ring = ctx.state.rings[name];
      if (!ring) return;
      ring.rings += 1;
      ring.rangAt ??= ctx.now;
    },
    read: (ctx) => ({ rings: ctx.state.rings }),
  },
});

export const ATTEMPTS = 3;

/** Bears `fine` and nothing else. */
export const Frail = protocol("chaos-frail", {
  fine: tell({ sender: z.string(), n: z.number() }),
  poison: tell({ id: z.string() }),
  fail: ask({}, {}),
  read: ask({}, { heard: heardBySender }, { readOnly: true }),
});

const frail = actor(Frail, {
  state: z.object({ heard: heardBySender.default({}) }),
  supervision: {
    ...DEFAULT_SUPERVISION,
    maxAttempts: ATTEMPTS,
    intensity: { failures: 100_000, withinMs: 1_000 },
    backoff: { initialMs: 20, maxMs: 100 },
  },
  handlers: {
    fine(ctx, { sender, n }) {
      hear(ctx.state.heard, sender, n);
    },
    poison(_ctx, { id }) {
      throw new Error(`poison ${id}`);
    },
    fail() {
      throw new Error("as asked");
    },
    read: (ctx) => ({ heard: ctx.state.heard }),
  },
});

/** Gets more than its mailbox holds. */
export const Flooded = protocol("chaos-flooded", {
  drop: tell({ n: z.number() }),
  read: ask({}, { count: z.number() }, { readOnly: true }),
});

const flooded = actor(Flooded, {
  state: z.object({ count: z.number().default(0) }),
  handlers: {
    drop(ctx) {
      ctx.state.count += 1;
    },
    read: (ctx) => ({ count: ctx.state.count }),
  },
});

export const chaosActors: readonly ActorDefinition[] = [
  counter,
  register,
  ledger,
  relay,
  alarm,
  frail,
  flooded,
];
