import { systemClock } from "../../runtime/clock.ts";
import { MemoryBroker } from "../../runtime/memory/broker.ts";
import { connectMemory } from "../../runtime/memory/transport.ts";
import type { Transport } from "../../runtime/transport.ts";
import { transportSuite } from "./transport.ts";

const CAPACITY = 5;

transportSuite("the memory transport", async () => {
  const broker = new MemoryBroker({ clock: systemClock, mailboxCapacity: CAPACITY });
  const open: Transport[] = [];
  return {
    mailboxCapacity: CAPACITY,
    async connect() {
      const transport = connectMemory(broker);
      open.push(transport);
      return transport;
    },
    async [Symbol.asyncDispose]() {
      for (const transport of open) await transport.close();
    },
  };
});
