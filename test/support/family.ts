/** A parent and its children for tests of supervision: children fail when told to and remember their restarts. */
import { z } from "zod";
import { ask, protocol, tell } from "../../protocols/protocol.ts";
import { type ActorDefinition, actor } from "../../runtime/actor.ts";
import type { ChildPolicy } from "../../runtime/children.ts";
import { DEFAULT_SUPERVISION, type Supervision } from "../../runtime/supervision.ts";

export const Member = protocol("member", {
  hear: tell({ text: z.string() }),
  /** Throws, so that the member gives up. */
  fail: tell({ text: z.string() }),
  failAsk: ask({}, {}),
  began: tell({ code: z.string().optional() }),
  read: ask({}, { heard: z.array(z.string()), restarts: z.number() }, { readOnly: true }),
});

export interface MemberOptions {
  readonly restart?: "keep" | "reset";
  readonly supervision?: Partial<Supervision>;
  /** Whether a restart fails now: called by each try of one. */
  readonly isBroken?: (key: string) => boolean;
}

export function member(options: MemberOptions = {}): ActorDefinition {
  return actor(Member, {
    state: z.object({ heard: z.array(z.string()).default([]), restarts: z.number().default(0) }),
    supervision: {
      ...DEFAULT_SUPERVISION,
      on: { default: "escalate" },
      backoff: { initialMs: 1, maxMs: 2 },
      ...options.supervision,
    },
    restart: options.restart ?? "keep",
    onRestart: "began",
    handlers: {
      hear(ctx, { text }) {
        ctx.state.heard.push(text);
      },
      fail(_, { text }) {
        throw new Error(text);
      },
      failAsk() {
        throw new Error("asked to");
      },
      began(ctx) {
        if (options.isBroken?.(ctx.self.key)) throw new Error("cannot begin");
        ctx.state.restarts += 1;
      },
      read: (ctx) => ({ heard: ctx.state.heard, restarts: ctx.state.restarts }),
    },
  });
}

/** A kind that no node serves: an actor of it obeys nothing. */
const Ghost = protocol("ghost", {});

const messages = {
  hire: tell({ keys: z.array(z.string()) }),
  fire: tell({ key: z.string() }),
  /** Supervises another squad. */
  lead: tell({ key: z.string() }),
  haunt: tell({ key: z.string() }),
  children: ask({}, { keys: z.array(z.string()) }),
};

export const Squad = protocol("squad", messages);

/** Squads of a kind of their own, for policies side by side. */
export const squadOfKind = (kind: string): typeof Squad => protocol(kind, messages);

/** A squad supervises members, and other squads. */
export function squad(children: Partial<ChildPolicy> = {}, kind = Squad): ActorDefinition {
  return actor(kind, {
    state: z.object({}),
    children: {
      strategy: "one-for-one",
      intensity: { failures: 3, withinMs: 60_000 },
      stopMs: 5_000,
      ...children,
    },
    handlers: {
      hire(ctx, { keys }) {
        for (const key of keys) ctx.supervise(Member, key);
      },
      fire(ctx, { key }) {
        ctx.unsupervise(Member, key);
      },
      lead(ctx, { key }) {
        ctx.supervise(Squad, key);
      },
      haunt(ctx, { key }) {
        ctx.supervise(Ghost, key);
      },
      children: (ctx) => ({ keys: ctx.children.map(({ key }) => key) }),
    },
  });
}
