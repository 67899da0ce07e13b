/** The raw peer: answers requests with their own payload; on the second subject only once JetStream has stored it. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connectRaw } from "../connection.ts";
import { runProgram } from "./program.ts";

await runProgram(async ({ natsUrl }: { readonly natsUrl: string }) => {
  const nc = await connectRaw(natsUrl, "bench-responder");
  const jsm = await jetstreamManager(nc);
  await jsm.streams.add({
    name: "BENCH_RAW",
    subjects: ["bench.state.>"],
    max_msgs_per_subject: 1,
    allow_direct: true,
  });
  const js = jetstream(nc);
  nc.subscribe("bench.echo.*", {
    callback: (error, message) => {
      if (!error) message.respond(message.data);
    },
  });
  nc.subscribe("bench.count.*", {
    callback: (error, message) => {
      if (error) return;
      const key = message.subject.slice("bench.count.".length);
      // Without an answer the request times out, which ends the measurement.
      js.publish(`bench.state.${key}`, message.data).then(
        () => message.respond(message.data),
        () => {},
      );
    },
  });
  await nc.flush();
  return { stop: () => nc.close() };
});
