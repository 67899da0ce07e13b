/** A link without faults changes nothing: what goes through it passes the suite of what is behind it. */
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { MemoryBroker } from "../../runtime/memory/broker.ts";
import { connectMemory } from "../../runtime/memory/transport.ts";
import { connectNats } from "../../runtime/nats/transport.ts";
import { noFaults } from "../../runtime/testkit/faults.ts";
import { faultyTransport } from "../../runtime/testkit/faulty-transport.ts";
import { TestProcess } from "../../runtime/testkit/process.ts";
import type { Transport } from "../../runtime/transport.ts";
import { startNats } from "../support/nats.ts";
import { transportSuite } from "./transport.ts";

const CAPACITY = 5;

function throughLink(inner: Transport): Transport {
  const process = new TestProcess("conformance", systemClock);
  return faultyTransport(inner, { clock: systemClock, process, faults: noFaults });
}

transportSuite("the memory transport through a link", async () => {
  const broker = new MemoryBroker({ clock: systemClock, mailboxCapacity: CAPACITY });
  const open: Transport[] = [];
  return {
    mailboxCapacity: CAPACITY,
    async connect() {
      const inner = connectMemory(broker);
      open.push(inner);
      return throughLink(inner);
    },
    async [Symbol.asyncDispose]() {
      for (const transport of open) await transport.close();
    },
  };
});

transportSuite("the NATS transport through a link", async () => {
  const nats = await startNats();
  const open: Transport[] = [];
  const topology = {
    replicas: 1,
    partitions: 4,
    mailboxCapacity: CAPACITY,
    journalRetentionMs: 3_600_000,
  };
  return {
    mailboxCapacity: CAPACITY,
    async connect() {
      const inner = await connectNats({
        url: nats.url,
        name: "conformance",
        topology,
        logger: silentLogger,
        clock: systemClock,
      });
      open.push(inner);
      return throughLink(inner);
    },
    async [Symbol.asyncDispose]() {
      for (const transport of open) await transport.close();
      await nats[Symbol.asyncDispose]();
    },
  };
});
