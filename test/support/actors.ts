/** Test actors with a message for each fate: replies, throws, grows, floods, calls itself, waits for a tool. */
import { z } from "zod";
import { BerthError, type ErrorCode, isErrorCode } from "../../protocols/errors.ts";
import { ask, protocol, tell, tool } from "../../protocols/protocol.ts";
import { type ActorDefinition, actor } from "../../runtime/actor.ts";
import type { Supervision } from "../../runtime/supervision.ts";
import type { Tools } from "../../runtime/tools.ts";

export const double = tool("test.double", { n: z.number() }, { twice: z.number() });

/** A tool that does nothing but be counted. */
export const note = tool("test.note", { text: z.string() }, {});

export const Probe = protocol("probe", {
  /** Adds and returns the sum; throws a plain error when told to. */
  add: ask({ n: z.number(), fail: z.boolean().default(false) }, { total: z.number() }),
  read: ask(
    {},
    {
      total: z.number(),
      heard: z.array(z.string()),
      alarms: z.array(z.string()),
      results: z.array(z.string()),
      exists: z.boolean(),
    },
    { readOnly: true },
  ),
  /** Remembers `text`; texts that start with "poison" throw. */
  hear: tell({ text: z.string() }),
  urgent: tell({ text: z.string() }, { lane: "control" }),
  later: tell({ text: z.string() }, { lane: "background" }),
  /** Tells `to` each text, in order, and remembers that it did. */
  relay: tell({ to: z.string(), texts: z.array(z.string()) }),
  relayUrgent: tell({ to: z.string(), first: z.string(), urgent: z.string() }),
  remind: tell({ name: z.string(), text: z.string(), afterMs: z.number() }),
  forget: tell({ name: z.string() }),
  alarm: tell({ text: z.string() }),
  run: tell({ n: z.number() }),
  ran: tell(double.result),
  jot: tell({ text: z.string() }),
  /** Puts so many characters into the state. */
  grow: tell({ size: z.number() }),
  /** Leaves a state behind that its schema does not take. */
  spoil: tell({}),
  /** Throws an error of that code. */
  refuse: tell({ code: z.custom<ErrorCode>(isErrorCode), afterMs: z.number().optional() }),
  refuseAsk: ask({ code: z.custom<ErrorCode>(isErrorCode) }, {}),
  park: tell({ code: z.string(), message: z.string(), forMs: z.number().optional() }),
  unpark: tell({}, { lane: "control" }),
  /** What `onRestart` names in tests. */
  restarted: tell({ code: z.string().optional(), message: z.string().optional() }),
  /** Writes into a bucket that people read. */
  publish: tell({ key: z.string(), text: z.string() }),
});

const ProbeState = z.object({
  total: z.number().default(0),
  heard: z.array(z.string()).default([]),
  alarms: z.array(z.string()).default([]),
  results: z.array(z.string()).default([]),
  ballast: z.string().default(""),
});

export interface ProbeOptions {
  readonly supervision?: Supervision;
  readonly passivateAfterMs?: number;
  readonly journaled?: boolean;
  readonly restart?: "keep" | "reset";
  readonly onRestart?: "restarted";
  /** Whether poison is taken by now. */
  readonly bearsPoison?: () => boolean;
}

export function probe(options: ProbeOptions = {}): ActorDefinition {
  const refusePoison = (text: string) => {
    if (text.startsWith("poison") && !options.bearsPoison?.())
      throw new Error(`cannot bear ${text}`);
  };
  return actor(Probe, {
    state: ProbeState,
    ...options,
    handlers: {
      add(ctx, { n, fail }) {
        ctx.state.total += n;
        if (fail) throw new Error("told to fail");
        return { total: ctx.state.total };
      },
      read: (ctx) => ({
        total: ctx.state.total,
        heard: ctx.state.heard,
        alarms: ctx.state.alarms,
        results: ctx.state.results,
        exists: ctx.exists,
      }),
      hear(ctx, { text }) {
        ctx.state.heard.push(text);
        refusePoison(text);
        if (options.journaled) ctx.emit("agent.message", null, { text });
      },
      urgent(ctx, { text }) {
        ctx.state.heard.push(text);
      },
      later(ctx, { text }) {
        ctx.state.heard.push(text);
      },
      relay(ctx, { to, texts }) {
        for (const text of texts) ctx.actor(Probe, to).hear({ text });
        ctx.state.heard.push(`relayed ${texts.length}`);
      },
      relayUrgent(ctx, { to, first, urgent }) {
        ctx.actor(Probe, to).hear({ text: first });
        ctx.actor(Probe, to).urgent({ text: urgent });
      },
      remind(ctx, { name, text, afterMs }) {
        ctx.remind("alarm", { text }, { afterMs }, name);
      },
      forget(ctx, { name }) {
        ctx.forget(name);
      },
      alarm(ctx, { text }) {
        ctx.state.alarms.push(text);
        refusePoison(text);
      },
      run(ctx, { n }) {
        ctx.execute(double, { n }, { reply: "ran" });
      },
      ran(ctx, { output, error }) {
        ctx.state.results.push(error ? `error ${error.code}` : `${output?.twice}`);
      },
      jot(ctx, { text }) {
        ctx.execute(note, { text });
        ctx.state.heard.push(text);
      },
      grow(ctx, { size }) {
        ctx.state.ballast = "x".repeat(size);
      },
      spoil(ctx) {
        (ctx.state as { total: unknown }).total = "not a number";
      },
      refuse(ctx, { code, afterMs }) {
        ctx.state.heard.push(`refused ${code}`);
        throw new BerthError(code, "refused", { retryAfterMs: afterMs });
      },
      refuseAsk(_, { code }) {
        throw new BerthError(code, "refused");
      },
      park(ctx, { code, message, forMs }) {
        ctx.state.heard.push("parked");
        ctx.park(code, message, forMs === undefined ? undefined : ctx.now + forMs);
      },
      unpark(ctx) {
        ctx.state.heard.push(`unparked from ${ctx.parked?.code}`);
        ctx.unpark();
      },
      restarted(ctx, { code = "nothing" }) {
        ctx.state.heard.push(`restarted after ${code}`);
      },
      publish(ctx, { key, text }) {
        ctx.put("jobs", key, { text });
      },
    },
  });
}

/** Who `escalateTo` names in tests. */
export const Warden = protocol("warden", {
  childFailed: tell({ child: z.string(), code: z.string(), message: z.string() }),
  read: ask({}, { failures: z.array(z.string()) }, { readOnly: true }),
});

export const warden = actor(Warden, {
  state: z.object({ failures: z.array(z.string()).default([]) }),
  handlers: {
    childFailed(ctx, { child, message }) {
      ctx.state.failures.push(`${child}: ${message}`);
    },
    read: (ctx) => ({ failures: ctx.state.failures }),
  },
});

/** Tools that work; `noted` collects what `test.note` was run with. */
export function probeTools(noted: string[] = []): Tools {
  return {
    "test.double": (input) => Promise.resolve({ twice: (input as { n: number }).n * 2 }),
    "test.note": (input) => {
      noted.push((input as { text: string }).text);
      return Promise.resolve({});
    },
  };
}
