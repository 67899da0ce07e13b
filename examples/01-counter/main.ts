/** A whole actor, on the in-memory broker: `npx tsx examples/01-counter/main.ts`. */
import { z } from "zod";
import * as berth from "../../index.ts";

const Counter = berth.protocol("counter", {
  add: berth.tell({ by: z.number() }),
  total: berth.ask({}, { total: z.number() }, { readOnly: true }),
});

const counter = berth.actor(Counter, {
  state: z.object({ total: z.number().default(0) }),
  handlers: {
    add(ctx, { by }) {
      ctx.state.total += by;
    },
    total: (ctx) => ({ total: ctx.state.total }),
  },
});

const node = await berth.startNode({
  transport: berth.connectMemory(new berth.MemoryBroker({ clock: berth.systemClock })),
  definitions: [counter],
  tools: {},
  clock: berth.systemClock,
  logger: berth.silentLogger,
  metrics: berth.noMetrics,
  random: Math.random,
  nodeId: "example",
  version: "0.1.0",
  drivers: [],
});

const apples = node.client.actor(Counter, "acme", "apples");
await apples.add({ by: 2 }); // stored: it will be handled, whatever dies now
await apples.add({ by: 3 });
console.log(await apples.total({})); // asked after both were handled
await node.stop();
