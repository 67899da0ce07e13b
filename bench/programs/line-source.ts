/** The raw peer of the agent: publishes the lines that the agent prints, a message each. */
import { connectRaw } from "../connection.ts";
import type { LineOrder } from "../lines.ts";
import { printLines } from "../lines.ts";
import { runProgram } from "./program.ts";

interface Broker {
  readonly natsUrl: string;
  readonly creds?: string;
}

await runProgram(async ({ natsUrl, creds }: Broker) => {
  const nc = await connectRaw(natsUrl, "bench-lines", creds);
  const encoder = new TextEncoder();
  return {
    commands: {
      print: (order: LineOrder) =>
        printLines(order, {
          write: (lines) => {
            for (const line of lines) nc.publish("bench.lines", encoder.encode(line));
          },
          // The server has taken them: the source never runs ahead of it by more than one batch.
          drained: () => nc.flush(),
        }),
    },
    stop: () => nc.close(),
  };
});
