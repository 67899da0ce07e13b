import { once } from "node:events";
import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";

/** A server that sends back what it gets, behind a proxy, and one connection to it. */
async function rig() {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.pipe(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const proxy = await TcpProxy.start((server.address() as AddressInfo).port);
  const client = await dial(proxy.port);
  return {
    proxy,
    client,
    async [Symbol.asyncDispose]() {
      client.socket.destroy();
      await proxy[Symbol.asyncDispose]();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface Client {
  readonly socket: Socket;
  text(): string;
}

async function dial(port: number): Promise<Client> {
  const socket = createConnection({ port, host: "127.0.0.1" });
  let text = "";
  socket.setEncoding("utf8").on("data", (piece: string) => {
    text += piece;
  });
  socket.on("error", () => {});
  await once(socket, "connect");
  return { socket, text: () => text };
}

const saw = (client: Client, text: string) =>
  eventually(() => client.text() === text, { name: `"${text}" comes back` });

describe("a proxy", () => {
  test("passes bytes on in both directions, large ones too", async () => {
    await using parts = await rig();
    const large = "x".repeat(3_000_000);
    parts.client.socket.write(large);
    await saw(parts.client, large);
  });

  test("delayed, passes everything later, in its order (T3)", async () => {
    await using parts = await rig();
    const { client, proxy } = parts;
    proxy.delay(100);
    const sentAt = performance.now();
    client.socket.write("a");
    await once(client.socket, "data");
    expect(performance.now() - sentAt).toBeGreaterThan(190);
    client.socket.write("b");
    await saw(client, "ab");
    proxy.delay(0);
    client.socket.write("c");
    await saw(client, "abc");
  });

  test("cut silently, passes nothing and keeps connections; healed, what was sent arrives (T1)", async () => {
    await using parts = await rig();
    const { client, proxy } = parts;
    client.socket.write("a");
    await saw(client, "a");
    proxy.cut("silent");
    client.socket.write("b");
    const late = await dial(proxy.port);
    late.socket.write("c");
    // Another pair of sockets would have had time for a round trip.
    await using other = await rig();
    other.client.socket.write("z");
    await saw(other.client, "z");
    expect([client.text(), late.text(), client.socket.destroyed]).toEqual(["a", "", false]);
    proxy.heal();
    await saw(client, "ab");
    await saw(late, "c");
    late.socket.destroy();
  });

  test("cut by reset, breaks connections and refuses new ones (T2)", async () => {
    await using parts = await rig();
    const { client, proxy } = parts;
    const closed = new Promise((resolve) => client.socket.on("close", resolve));
    proxy.cut("reset");
    await closed;
    const late = createConnection({ port: proxy.port, host: "127.0.0.1" });
    late.on("error", () => {});
    await new Promise((resolve) => late.on("close", resolve));
    proxy.heal();
    const next = await dial(proxy.port);
    next.socket.write("d");
    await saw(next, "d");
    next.socket.destroy();
  });
});
