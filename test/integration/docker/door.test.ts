/** The door by itself, on addresses of loopback: sockets and a nats-server, no engine. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { connect } from "@nats-io/transport-node";
import { afterEach, describe, expect, test } from "vitest";
import { Door, type DoorLimits, type DoorTarget } from "../../../executor/drivers/docker/door.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { eventually } from "../../support/eventually.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { startNats } from "../../support/nats.ts";

const HOST = "127.0.0.1";
const MIB = 1024 ** 2;

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});
const kept = <T extends AsyncDisposable>(one: T): T => {
  open.push(one);
  return one;
};

async function freePort(): Promise<number> {
  const server = createServer().listen(0, HOST);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

interface Target extends AsyncDisposable {
  readonly port: number;
  readonly sockets: Socket[];
}

/** A server behind the door. */
async function target(serve: (socket: Socket) => void = () => {}): Promise<Target> {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    serve(socket);
  });
  server.listen(0, HOST);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return kept({
    port,
    sockets,
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  });
}

async function door(
  targets: readonly DoorTarget[] | (() => readonly DoorTarget[]),
  limits: Partial<DoorLimits> = {},
): Promise<{ readonly port: number; readonly dial: (from?: string) => Socket }> {
  const port = await freePort();
  const ask = typeof targets === "function" ? targets : () => targets;
  const options = { host: HOST, port, targets: ask, clock: systemClock, log: silentLogger, limits };
  kept(await Door.open(options));
  const dial = (localAddress = HOST) => {
    const socket = createConnection({ port, host: HOST, localAddress, allowHalfOpen: true });
    socket.on("error", () => {});
    open.push({ [Symbol.asyncDispose]: async () => void socket.destroy() });
    return socket;
  };
  return { port, dial };
}

const at = (port: number): DoorTarget => ({ host: HOST, port });

/** All that a socket says until it ends. */
async function rest(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  await once(socket, "end");
  return Buffer.concat(chunks);
}

/** How a connection was closed: `broken` by a reset, or `ended`. */
function closing(socket: Socket): Promise<"broken" | "ended"> {
  return new Promise((resolve) => {
    socket.on("error", () => {});
    socket.once("close", (isBroken) => resolve(isBroken ? "broken" : "ended"));
    socket.resume();
  });
}

describe("a door", () => {
  test("leads to the broker; its clients come back by themselves when the broker was killed and started again", async () => {
    const nats = kept(await startNats());
    const { port } = await door([at(nats.port)]);
    const servers = `${HOST}:${port}`;
    const client = await connect({ servers, reconnectTimeWait: 50, maxReconnectAttempts: -1 });
    kept({ [Symbol.asyncDispose]: () => client.close() });
    client.subscribe("echo", { callback: (_, message) => void message.respond(message.data) });
    const ask = async (text: string) => (await client.request("echo", text)).string();
    expect(await ask("before")).toBe("before");
    await nats.restart();
    await eventually(async () => (await ask("after")) === "after", { name: "it answers again" });
  });

  test("passes the end of one direction and leaves the other one open, both ways", async () => {
    const { port } = await target((socket) => {
      void rest(socket).then((all) => socket.end(`got ${String(all)}`));
    });
    const { dial } = await door([at(port)]);
    const socket = dial();
    socket.end("a question");
    expect(String(await rest(socket))).toBe("got a question");

    const hasty = await target((s) => s.end("hello"));
    const said: string[] = [];
    const second = (await door([at(hasty.port)])).dial();
    expect(String(await rest(second))).toBe("hello");
    hasty.sockets[0]?.on("data", (chunk) => said.push(String(chunk)));
    second.end("still here");
    await eventually(() => said.join("") === "still here", { name: "the other way is open" });
  });

  test("breaks the other half of a connection that breaks, on either side", async () => {
    const far = await target();
    const { dial } = await door([at(far.port)]);
    const first = dial();
    await eventually(() => far.sockets.length === 1, { name: "the first is connected" });
    const second = dial();
    await eventually(() => far.sockets.length === 2, { name: "the second is connected" });
    const [nearEnd, farEnd] = [closing(first), closing(far.sockets[1]!)];
    far.sockets[0]?.resetAndDestroy();
    expect(await nearEnd).toBe("broken");
    second.resetAndDestroy();
    expect(await farEnd).toBe("broken");
  });

  test("slows a sender whose receiver does not read, and loses nothing of what it sent", async () => {
    const chunks = Array.from({ length: 64 }, () => randomBytes(MIB));
    let taken = 0;
    function* sending() {
      for (const chunk of chunks) {
        taken += 1;
        yield chunk;
      }
    }
    const far = await target((socket) => socket.pause());
    const { dial } = await door([at(far.port)]);
    const sent = pipeline(Readable.from(sending()), dial());
    let [last, looks] = [0, 0];
    await eventually(
      () => {
        looks = taken === last ? looks + 1 : 0;
        last = taken;
        return looks === 20 && far.sockets.length === 1;
      },
      { name: "nothing moves any more" },
    );
    // What the kernel's buffers of two connections hold at most is a third of it.
    expect(taken).toBeLessThan(40);
    const got = rest(far.sockets[0]!);
    far.sockets[0]?.resume();
    expect((await got).equals(Buffer.concat(chunks))).toBe(true);
    far.sockets[0]?.end();
    await sent;
  });

  test("takes the first target that connects, and asks for targets anew each time", async () => {
    const [one, two] = [await target((s) => s.end("one")), await target((s) => s.end("two"))];
    const dead = at(await freePort());
    let targets = [dead, at(one.port), at(two.port)];
    const { dial } = await door(() => targets);
    expect(String(await rest(dial()))).toBe("one");
    targets = [dead, at(two.port)];
    expect(String(await rest(dial()))).toBe("two");
    targets = [dead];
    expect(await closing(dial())).toBe("broken");
    targets = [];
    expect(await closing(dial())).toBe("broken");
  });

  test("waits no longer than its bound for a target that does not answer", async () => {
    const live = await target((socket) => socket.end("live"));
    const deaf = await startDeafServer();
    const { dial } = await door([at(deaf.port), at(live.port)], { connectMs: 100 });
    expect(String(await rest(dial()))).toBe("live");
  });

  test("bounds the connections of one worker, and those of all, and counts down when they end", async () => {
    const far = await target();
    const { dial } = await door([at(far.port)], { perWorker: 2, connections: 3 });
    const first = dial();
    dial();
    await eventually(() => far.sockets.length === 2, { name: "two are through" });
    expect(await closing(dial())).toBe("broken");
    dial("127.0.0.2");
    await eventually(() => far.sockets.length === 3, { name: "another worker is through" });
    expect(await closing(dial("127.0.0.3"))).toBe("broken");
    first.resetAndDestroy();
    await eventually(() => dial() && far.sockets.length === 4, { name: "there is room again" });
  });

  test("leaves no connection and no timer when it closes, not even of one that still waits for its target", async () => {
    const far = await target();
    const deaf = await startDeafServer();
    const clock = new ManualClock();
    const port = await freePort();
    let targets = [at(far.port)];
    const opened = await Door.open({
      host: HOST,
      port,
      targets: () => targets,
      clock,
      log: silentLogger,
    });
    const through = createConnection({ port, host: HOST });
    await eventually(() => far.sockets.length === 1, { name: "one is through" });
    targets = [at(deaf.port)];
    const waiting = createConnection({ port, host: HOST });
    await once(waiting, "connect");
    await eventually(() => clock.pending === 1, { name: "one waits" });
    const ends = Promise.all([closing(through), closing(waiting), closing(far.sockets[0]!)]);
    await Promise.all([opened.close(), opened.close()]);
    expect(await ends).toEqual(["broken", "broken", "broken"]);
    expect(clock.pending).toBe(0);
    const refused = createConnection({ port, host: HOST });
    await expect(once(refused, "connect")).rejects.toThrow("ECONNREFUSED");
  });

  test("says which port of which address is taken, or that the address is not this host's", async () => {
    const other = await target();
    const options = { targets: () => [], clock: systemClock, log: silentLogger };
    await expect(Door.open({ ...options, host: HOST, port: other.port })).rejects.toMatchObject({
      code: "driver.failed",
      message: expect.stringMatching(`port ${other.port} of ${HOST}.*taken`),
    });
    await expect(Door.open({ ...options, host: "203.0.113.9", port: 1 })).rejects.toMatchObject({
      code: "driver.failed",
      message: expect.stringContaining("203.0.113.9 is no address of this host"),
    });
  });
});

/** A server whose queue is full: it neither accepts nor refuses. */
async function startDeafServer(): Promise<{ readonly port: number }> {
  const listen = `const s = require("node:net").createServer().listen(
    { port: 0, host: "${HOST}", backlog: 1 }, () => console.log(s.address().port))`;
  const child = spawn(process.execPath, ["-e", listen], { stdio: ["ignore", "pipe", "inherit"] });
  kept({
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  });
  const [chunk] = (await once(child.stdout, "data")) as [Buffer];
  const port = Number(String(chunk));
  child.kill("SIGSTOP");
  const isDeaf = () =>
    new Promise<boolean>((resolve) => {
      const socket = createConnection({ port, host: HOST });
      open.push({ [Symbol.asyncDispose]: async () => void socket.destroy() });
      const cancel = systemClock.after(200, () => resolve(true));
      socket.on("error", () => {});
      socket.once("connect", () => {
        cancel();
        resolve(false);
      });
    });
  await eventually(isDeaf, { name: "the queue is full" });
  return { port };
}
