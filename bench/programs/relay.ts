/** The raw peer of the gateway: what arrives on one subject goes out to every WebSocket client, and nothing else. */
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import { connectRaw } from "../connection.ts";
import { runProgram } from "./program.ts";

interface Broker {
  readonly natsUrl: string;
  readonly creds?: string;
}

await runProgram(async ({ natsUrl, creds }: Broker) => {
  const nc = await connectRaw(natsUrl, "bench-relay", creds);
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  await new Promise((resolve) => server.once("listening", resolve));
  nc.subscribe("bench.lines", {
    callback: (error, message) => {
      if (error) return;
      for (const client of server.clients) client.send(message.data, { binary: false });
    },
  });
  await nc.flush();
  const { port } = server.address() as AddressInfo;
  return {
    ready: { url: `ws://127.0.0.1:${port}` },
    async stop() {
      await nc.close();
      for (const client of server.clients) client.terminate();
      server.close();
    },
  };
});
