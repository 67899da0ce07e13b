/** A node of a chaos run, to be killed, paused and cut off. SIGTERM drains it. */
import { systemClock } from "../../../runtime/clock.ts";

import { noMetrics } from "../../../runtime/metrics.ts";
import { startNode } from "../../../runtime/node.ts";
import { eventually } from "../../support/eventually.ts";
import { chaosActors } from "../actors.ts";
import { connectChaos } from "../connection.ts";
import { type Plant, planted } from "../plants.ts";
import { spokenLogger } from "../spoken-logger.ts";
import { config, say } from "./program.ts";

const { id, url, plant } = config() as {
  readonly id: string;
  readonly url: string;
  readonly plant?: Plant;
};

const transport = await connectChaos(url, id, spokenLogger);
const node = await startNode({
  transport: planted(transport, plant),
  definitions: chaosActors,
  tools: {},
  clock: systemClock,
  logger: spokenLogger,
  metrics: noMetrics,
  random: Math.random,
  nodeId: id,
  version: "0.0.0-chaos",
  drivers: [],
  onReplaced: () => process.exit(3),
});
process.once("SIGTERM", () => {
  const leave = async () => {
    await node.stop();
    await transport.close();
    process.exit(0);
  };
  leave().catch(() => process.exit(1));
});
await eventually(() => node.isReady(), { within: 60_000, name: "ready" });
say({ type: "ready" });
