/** The promises R1 to R8 as one scenario: mixed load on a few actors, then every promise judged from the evidence. */
import type { Scenario } from "../../runtime/testkit/scenario.ts";
import type { Simulation } from "../../runtime/testkit/simulation.ts";
import { cell } from "./actors.ts";
import { checkAll } from "./checks.ts";
import { Load } from "./load.ts";

/** Smaller than a flood, so that senders meet the bound (R7). */
const MAILBOX_CAPACITY = 6;
const TOOL_MS = 300;

/** With `everyCall` no call may fail, but for a mailbox that is full: where nodes only come and go as asked to (R8). */
export function promises({ everyCall = false } = {}): Scenario {
  const loads = new WeakMap<Simulation, Load>();
  return {
    definitions: [cell],
    mailboxCapacity: MAILBOX_CAPACITY,
    tools: ({ clock }) => ({
      "cell.double": async (input) => {
        await clock.sleep(TOOL_MS);
        return { twice: (input as { n: number }).n * 2 };
      },
    }),
    async load(simulation) {
      const load = new Load(simulation, everyCall);
      loads.set(simulation, load);
      await load.run();
    },
    check(simulation) {
      const load = loads.get(simulation);
      if (!load) throw new Error("the load did not run");
      return checkAll(simulation, load);
    },
  };
}
