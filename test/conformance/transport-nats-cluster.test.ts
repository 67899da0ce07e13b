import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { connectNats } from "../../runtime/nats/transport.ts";
import type { Transport } from "../../runtime/transport.ts";
import { startNatsCluster } from "../support/nats-cluster.ts";
import { transportSuite } from "./transport.ts";

const CAPACITY = 5;

transportSuite("the NATS transport on three servers", async () => {
  const nats = await startNatsCluster();
  await nats.healthy();
  const open: Transport[] = [];
  return {
    mailboxCapacity: CAPACITY,
    writesWithinMs: 3_000,
    async connect() {
      const transport = await connectNats({
        url: nats.url,
        name: "conformance",
        topology: {
          replicas: 3,
          partitions: 4,
          mailboxCapacity: CAPACITY,
          journalRetentionMs: 3_600_000,
        },
        logger: silentLogger,
        clock: systemClock,
      });
      open.push(transport);
      // Streams that were just made elect their leaders.
      await nats.healthy();
      return transport;
    },
    async [Symbol.asyncDispose]() {
      for (const transport of open) await transport.close();
      await nats[Symbol.asyncDispose]();
    },
  };
});
