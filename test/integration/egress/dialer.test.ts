/** The dialer on loopback, with addresses that answer and such that say nothing at all. */
import { once } from "node:events";
import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { rangesOf } from "../../../executor/egress/address-class.ts";
import { Dialer, type Dialled } from "../../../executor/egress/dialer.ts";
import type { ResolveName } from "../../../executor/egress/resolver.ts";
import { eventually } from "../../support/eventually.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const LIVING = "127.0.0.1";
const SILENT = "127.0.0.2";
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function livingPort(): Promise<number> {
  const server = createServer((socket) => socket.on("error", () => {}).resume());
  server.listen(0, LIVING);
  await once(server, "listening");
  closing.push(() => new Promise((resolve) => server.close(resolve)));
  return (server.address() as AddressInfo).port;
}

/** Listens and takes nobody: when its queue is full, the kernel answers no word to who comes. */
async function fallSilent(port: number): Promise<void> {
  const gate = new Int32Array(new SharedArrayBuffer(4));
  const listener = new Worker(
    `const { parentPort, workerData } = require("node:worker_threads");
     const { gate, ...at } = workerData;
     require("node:net").createServer().listen({ ...at, backlog: 1 }, () => {
       parentPort.postMessage("listening");
       Atomics.wait(gate, 0, 0);
     });`,
    { eval: true, workerData: { gate, host: SILENT, port } },
  );
  closing.push(async () => {
    Atomics.store(gate, 0, 1);
    Atomics.notify(gate, 0);
    await listener.terminate();
  });
  await once(listener, "message");
  const waiting: Socket[] = [];
  closing.push(async () => waiting.forEach((socket) => void socket.destroy()));
  const isConnected = (socket: Socket) => !socket.connecting && !socket.destroyed;
  // Each that connects fills the queue, until one is left without an answer.
  for (let n = 0; n < 4; n += 1)
    waiting.push(createConnection({ host: SILENT, port }).on("error", () => {}));
  await eventually(() => waiting.filter(isConnected).length >= 2);
  expect(waiting.some(({ connecting }) => connecting)).toBe(true);
}

describe("the dialer", () => {
  let clock: ManualClock;
  let port: number;
  beforeEach(async () => {
    clock = new ManualClock();
    port = await livingPort();
    await fallSilent(port);
  });

  /** What has come of it so far. */
  const dialling = (resolve: ResolveName): { readonly result: () => Dialled | undefined } => {
    const scene = () => ({ own: new Set<string>(), workers: rangesOf([]) });
    const dialer = new Dialer({ resolve, scene, clock, withinMs: 3_000 });
    let result: Dialled | undefined;
    void dialer
      .dial({ host: "host.test", port }, true, new AbortController().signal)
      .then((dialled) => {
        result = dialled;
        if ("socket" in dialled) closing.push(async () => void dialled.socket.destroy());
      });
    return { result: () => result };
  };
  /** One timer is that of the whole, the other that of an address. */
  const isTrying = () => eventually(() => clock.pending === 2);

  test("gives an address that says nothing its part of the time, and the next one the rest", async () => {
    const { result } = dialling(() => Promise.resolve([SILENT, SILENT, LIVING]));
    for (let n = 0; n < 2; n += 1) {
      await isTrying();
      await clock.advance(999);
      expect(result()).toBeUndefined();
      await clock.advance(1);
    }
    await eventually(() => result() !== undefined);
    expect(result()).toMatchObject({ socket: { remoteAddress: LIVING } });
    expect([clock.monotonic(), clock.pending]).toEqual([2_000, 0]);
  });

  test("divides what the question for the name has left, among those that are tried", async () => {
    const found = [SILENT, LIVING, ...Array.from({ length: 4 }, () => LIVING)];
    const { result } = dialling(() => clock.sleep(1_000).then(() => found));
    await isTrying();
    await clock.advance(1_000);
    await isTrying();
    // A quarter of two seconds: of the six addresses four are tried.
    await clock.advance(499);
    expect(result()).toBeUndefined();
    await clock.advance(1);
    await eventually(() => result() !== undefined);
    expect(result()).toMatchObject({ socket: { remoteAddress: LIVING } });
  });

  test("takes no longer than it may when nobody answers", async () => {
    const { result } = dialling(() => Promise.resolve([SILENT, SILENT]));
    for (let n = 0; n < 2; n += 1) {
      await isTrying();
      await clock.advance(1_499);
      expect(result()).toBeUndefined();
      await clock.advance(1);
    }
    await eventually(() => result() !== undefined);
    expect(result()).toEqual({ failure: "unreachable" });
    expect(clock.pending).toBe(0);
  });
});
