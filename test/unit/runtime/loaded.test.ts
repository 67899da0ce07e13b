import { expect, test } from "vitest";
import { z } from "zod";
import { protocol, tell } from "../../../protocols/protocol.ts";
import { actor } from "../../../runtime/actor.ts";
import { loadRecord } from "../../../runtime/loaded.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const Tally = protocol("tally", { add: tell({}) });
const tally = actor(Tally, {
  state: z.object({
    counts: z.object({ by: z.record(z.string(), z.number()) }).default({ by: {} }),
  }),
  handlers: { add() {} },
});

test("a new actor's nested defaults are its own, not those of the actor before it", async () => {
  const transport = connectMemory(new MemoryBroker({ clock: new ManualClock() }));
  const load = (key: string) =>
    loadRecord({ ref: { kind: "tally", tenant: "acme", key }, definition: tally, transport });
  const first = await load("one");
  (first.state.draft() as { counts: { by: Record<string, number> } }).counts.by["x"] = 1;
  const second = await load("two");
  expect(second.state.read()).toEqual({ counts: { by: {} } });
});
