/** A client of a chaos run: works from its start until it is told to stop, and then says what it was promised. */
import { actorClient } from "../../../runtime/actor-client.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { sharedAbort } from "../../../runtime/shared-abort.ts";
import { connectChaos } from "../connection.ts";
import { Load } from "../load.ts";
import { seededRandom } from "../random.ts";
import { config, onCommand, say } from "./program.ts";

const PROGRESS_MS = 1_000;

const { name, url, seed } = config() as {
  readonly name: string;
  readonly url: string;
  readonly seed: number;
};

const transport = await connectChaos(url, name);
const client = actorClient({ transport, clock: systemClock });
const over = sharedAbort();
const load = new Load({ client, name, random: seededRandom(seed), signal: over.signal });
const running = load.run();
const report = async () => {
  while (!over.signal.aborted) {
    await systemClock.sleep(PROGRESS_MS, over.signal);
    say({ type: "progress", value: load.tally });
  }
};
onCommand({
  async stop() {
    over.abort();
    return running;
  },
});
say({ type: "ready" });
await report();
