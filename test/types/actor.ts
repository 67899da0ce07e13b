/** What the compiler must refuse to an author of actors. Compiled by `npm run types`, never run. */
import { z } from "zod";
import { actor, ask, type Client, protocol, tell, tool } from "../../index.ts";

const search = tool("search", { query: z.string() }, { text: z.string() });
const crawl = tool("crawl", { url: z.string() }, { pages: z.number() });

const Ledger = protocol("ledger", { charge: tell({ tokens: z.number() }), balance: ask({}, {}) });
const Research = protocol("research", {
  begin: ask({ question: z.string() }, { accepted: z.boolean() }),
  notes: ask({}, { count: z.number() }, { readOnly: true }),
  found: tell(search.result),
  nudge: tell({}),
});

const state = z.object({ asked: z.number().default(0) });
const notes = () => ({ count: 0 });
const nothing = () => {};

/** The control: what is right compiles. */
export const right = actor(Research, {
  state,
  handlers: {
    begin(ctx, { question }) {
      ctx.state.asked += question.length;
      ctx.execute(search, { query: question }, { reply: "found" });
      ctx.actor(Ledger, "main").charge({ tokens: 1 });
      ctx.remind("nudge", {}, { afterMs: 1_000 });
      return { accepted: true };
    },
    notes: (ctx) => ({ count: ctx.state.asked }),
    found: nothing,
    nudge: nothing,
  },
});

export const handlerMissing = actor(Research, {
  state,
  // @ts-expect-error nobody handles `nudge`
  handlers: { begin: () => ({ accepted: true }), notes, found: nothing },
});

export const replyWrong = actor(Research, {
  state,
  handlers: {
    // @ts-expect-error the answer is a boolean
    begin: () => ({ accepted: "yes" }),
    notes,
    found: nothing,
    nudge: nothing,
  },
});

export const handlerWaits = actor(Research, {
  state,
  handlers: {
    // @ts-expect-error a handler never waits: its answer is no promise
    begin: () => Promise.resolve({ accepted: true }),
    notes,
    found: nothing,
    nudge: nothing,
  },
});

export const effectsWrong = actor(Research, {
  state,
  handlers: {
    begin(ctx) {
      // @ts-expect-error `found` takes the result of another tool
      ctx.execute(crawl, { url: "" }, { reply: "found" });
      // @ts-expect-error the tool's input has no such field
      ctx.execute(search, { question: "" });
      // @ts-expect-error the peer's message takes a number
      ctx.actor(Ledger, "main").charge({ tokens: "one" });
      // @ts-expect-error an actor tells its peers and never asks them
      ctx.actor(Ledger, "main").balance({});
      // @ts-expect-error a reminder is a message of one's own
      ctx.remind("charge", { tokens: 1 }, { afterMs: 1 });
      // @ts-expect-error there is no such field in the state
      ctx.state.answered = 1;
      return { accepted: true };
    },
    notes(ctx) {
      // @ts-expect-error a read-only handler does not write
      ctx.state.asked = 1;
      // @ts-expect-error nor has it effects
      ctx.actor(Ledger, "main");
      return { count: 0 };
    },
    found: nothing,
    nudge: nothing,
  },
});

export async function callWrong(client: Client): Promise<void> {
  const research = client.actor(Research, "acme", "moon");
  // @ts-expect-error the input is missing
  await research.begin({});
  // @ts-expect-error the protocol has no such message
  await research.end({});
  const { accepted } = await research.begin({ question: "why" });
  // @ts-expect-error the answer is no string
  accepted.toUpperCase();
}

const Tree = protocol("tree", {
  leaves: ask({}, { names: z.array(z.string()) }, { readOnly: true }),
});

export const readsDeep = actor(Tree, {
  state: z.object({ root: z.object({ names: z.array(z.string()).default([]) }) }),
  handlers: {
    leaves({ state }) {
      // @ts-expect-error a read-only handler changes nothing, however deep
      state.root.names.push("one");
      return { names: state.root.names };
    },
  },
});
