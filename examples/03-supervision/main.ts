/**
 * A caller that is parked when its quota is spent, and a pair of actors that restart together:
 * `npx tsx examples/03-supervision/main.ts`. docs/supervision.md explains both.
 */
import { z } from "zod";
import * as berth from "../../index.ts";

const Caller = berth.protocol("caller", {
  call: berth.tell({ to: z.string() }),
  log: berth.ask({}, { lines: z.array(z.string()) }, { readOnly: true }),
});

let quota = 1;
const caller = berth.actor(Caller, {
  state: z.object({ lines: z.array(z.string()).default([]) }),
  supervision: {
    ...berth.DEFAULT_SUPERVISION,
    on: { default: "restart", "quota.*": "park" },
  },
  handlers: {
    call(ctx, { to }) {
      if (quota === 0) throw new berth.BerthError("quota.hourly", "no calls left");
      quota -= 1;
      ctx.state.lines.push(`called ${to}`);
    },
    log: (ctx) => ({ lines: ctx.state.lines }),
  },
});

const Half = berth.protocol("half", {
  slip: berth.tell({}),
  begun: berth.tell({}),
  begins: berth.ask({}, { times: z.number() }, { readOnly: true }),
});
const half = berth.actor(Half, {
  state: z.object({ times: z.number().default(0) }),
  supervision: { ...berth.DEFAULT_SUPERVISION, on: { default: "stop" } },
  onRestart: "begun",
  handlers: {
    slip() {
      throw new Error("out of step");
    },
    begun(ctx) {
      ctx.state.times += 1;
    },
    begins: (ctx) => ({ times: ctx.state.times }),
  },
});

const Pair = berth.protocol("pair", { open: berth.ask({}, { halves: z.number() }) });
const pair = berth.actor(Pair, {
  state: z.object({}),
  children: {
    strategy: "one-for-all",
    intensity: { failures: 3, withinMs: 60_000 },
    stopMs: 5_000,
  },
  handlers: {
    open(ctx) {
      ctx.supervise(Half, "left");
      ctx.supervise(Half, "right");
      return { halves: ctx.children.length };
    },
  },
});

const transport = berth.connectMemory(new berth.MemoryBroker({ clock: berth.systemClock }));
const node = await berth.startNode({
  transport,
  definitions: [caller, half, pair],
  tools: {},
  clock: berth.systemClock,
  logger: berth.silentLogger,
  metrics: berth.noMetrics,
  random: Math.random,
  nodeId: "example",
  version: "0.1.0",
  drivers: [],
});

/** Asks until the answer is the awaited one: what it waits for is on its way. */
async function until<T>(ask: () => Promise<T>, done: (answer: T) => boolean): Promise<T> {
  for (let tries = 0; tries < 500; tries += 1) {
    const answer = await ask().catch((thrown: unknown) => {
      if (thrown instanceof berth.BerthError && thrown.retry !== "never") return undefined;
      throw thrown;
    });
    if (answer !== undefined && done(answer)) return answer;
    await berth.systemClock.sleep(10);
  }
  throw new Error("it never came");
}

const anna = node.client.actor(Caller, "acme", "anna");
await anna.call({ to: "bob" });
await anna.call({ to: "carl" }); // the quota is spent: the message waits, and the actor is parked
const refusal = await anna.log({}).catch((thrown: unknown) => thrown);
console.log((refusal as berth.BerthError).code);
quota = 1;
const ref = { kind: "caller", tenant: "acme", key: "anna" };
await berth.sendSystem({ transport, clock: berth.systemClock }, ref, { type: "$unpark" });
console.log(
  await until(
    () => anna.log({}),
    ({ lines }) => lines.length === 2,
  ),
);

await node.client.actor(Pair, "acme", "p").open({});
const [left, right] = ["left", "right"].map((key) => node.client.actor(Half, "acme", key));
await left?.slip({}); // left gives up, and both begin again
for (const one of [left, right]) {
  if (one)
    console.log(
      await until(
        () => one.begins({}),
        ({ times }) => times === 1,
      ),
    );
}
await node.stop();
