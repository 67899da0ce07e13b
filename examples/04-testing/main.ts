/** How an author tests an actor: on a cluster that loses a node, and on many bad days: `npx tsx examples/04-testing/main.ts`. */
import { z } from "zod";
import * as berth from "../../index.ts";
import * as testing from "../../runtime/testkit/index.ts";

const Counter = berth.protocol("counter", {
  add: berth.ask({ by: z.number() }, { total: z.number() }),
  remindMe: berth.tell({ afterMs: z.number() }),
  rang: berth.tell({}),
  rings: berth.ask({}, { rings: z.number() }, { readOnly: true }),
});

const counter = berth.actor(Counter, {
  state: z.object({ total: z.number().default(0), rings: z.number().default(0) }),
  handlers: {
    add(ctx, { by }) {
      ctx.state.total += by;
      return { total: ctx.state.total };
    },
    remindMe(ctx, { afterMs }) {
      ctx.remind("rang", {}, { afterMs });
    },
    rang(ctx) {
      ctx.state.rings += 1;
    },
    rings: (ctx) => ({ rings: ctx.state.rings }),
  },
});

async function survivesItsNode() {
  await using cluster = await testing.startTestCluster({
    definitions: [counter],
    nodes: 3,
    faults: testing.noFaults,
  });
  const apples = cluster.client.actor(Counter, "acme", "apples");
  await apples.add({ by: 2 });
  await cluster.crash("n1");
  await cluster.settled();
  console.log("after a crash:", await apples.add({ by: 3 }));
}

async function outlivesAPause() {
  await using cluster = await testing.startTestCluster({
    definitions: [counter],
    nodes: 2,
    faults: testing.noFaults,
  });
  const { process, link } = cluster.faultsOf("n1");
  process.pause(); // its timers and callbacks stop, as with SIGSTOP
  await testing.eventually(() => cluster.node("n2").partitions().length === 4);
  process.resume();
  link.cut(["out"]); // what it says is held back
  link.mend();
  await cluster.settled();
  const apples = cluster.client.actor(Counter, "acme", "apples");
  console.log("after a pause:", await apples.add({ by: 1 }));
}

async function ringsInTime() {
  const clock = new testing.ManualClock();
  await using cluster = await testing.startTestCluster({ definitions: [counter], clock });
  const apples = cluster.client.actor(Counter, "acme", "apples");
  await clock.advance(1_000); // the node takes its partitions
  await apples.remindMe({ afterMs: 60_000 });
  await clock.advance(61_000);
  console.log("a minute later:", await apples.rings({}));
}

const badDays: testing.Scenario = {
  definitions: [counter],
  async load(simulation) {
    const clients = ["c1", "c2"].map(async (name) => {
      const { client } = simulation.client(name);
      for (let i = 0; i < 10; i += 1) {
        const call = { client: name, key: "apples", op: "add", input: 1 };
        const adding = simulation.history.run(call, async () => {
          const { total } = await client.actor(Counter, "acme", "apples").add({ by: 1 });
          return total;
        });
        await adding.catch(() => undefined); // the history says what is known of it
        await simulation.clock.sleep(simulation.random.int(0, 500));
      }
    });
    await Promise.all(clients);
  },
  async check({ history }) {
    const { verdict } = testing.checkLinearizable(testing.counterModel, history.operations);
    return verdict === "violated" ? [{ rule: "counter", message: "no order explains it" }] : [];
  },
};

await survivesItsNode();
await outlivesAPause();
await ringsInTime();
const { schedules, failure } = await testing.sweep(badDays, { first: 1, schedules: 10 });
console.log(failure ? testing.describeFailure(failure) : `${schedules} bad days survived`);
