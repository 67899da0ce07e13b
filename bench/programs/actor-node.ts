/** A node that hosts the benchmark's actor, in a process of its own. */
import { prometheusMetrics } from "../../deploy/metrics.ts";
import { version } from "../../deploy/version.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { startNode } from "../../runtime/node.ts";
import { benchActor } from "../bench-actor.ts";
import { connectBerth } from "../connection.ts";
import { runProgram } from "./program.ts";

await runProgram(async ({ natsUrl }: { readonly natsUrl: string }) => {
  const transport = await connectBerth(natsUrl, "bench-node");
  const node = await startNode({
    transport,
    definitions: [benchActor],
    tools: {},
    clock: systemClock,
    logger: silentLogger,
    metrics: prometheusMetrics(),
    random: Math.random,
    nodeId: "bench",
    version,
    drivers: [],
  });
  return {
    async stop() {
      await node.stop();
      await transport.close();
    },
  };
});
