import { once } from "node:events";
import { createServer, connect as dial, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BerthClient } from "../../../gateway/client.ts";
import type { SessionEvent } from "../../../protocols/events.ts";
import { type GatewayRig, startGatewayRig } from "../../support/gateway-rig.ts";

let rig: GatewayRig;
beforeAll(async () => {
  rig = await startGatewayRig();
});
afterAll(() => rig[Symbol.asyncDispose]());

/** A TCP relay in front of the gateway whose connections a test cuts. */
async function relay(url: string) {
  const sockets = new Set<Socket>();
  const { hostname, port } = new URL(url);
  const server = createServer((inside) => {
    const outside = dial(Number(port), hostname);
    for (const socket of [inside, outside]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        inside.destroy();
        outside.destroy();
      });
    }
    inside.pipe(outside).pipe(inside);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${address.port}`,
    cut() {
      for (const socket of sockets) socket.destroy();
      sockets.clear();
    },
    async [Symbol.asyncDispose]() {
      this.cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe("the client", () => {
  it("runs a job and resumes its events over every lost connection", async () => {
    await using between = await relay(rig.url);
    const client = new BerthClient({ url: between.url, key: rig.keys.enterprise });
    const job = await client.submit({ agent: "shell", prompt: "x" });
    const events: SessionEvent[] = [];
    const reading = (async () => {
      for await (const event of client.jobEvents(job.id)) events.push(event);
    })();
    const attempt = await rig.executor.attempt(job.id);
    await attempt.start();
    for (let i = 0; i < 5; i += 1) {
      await attempt.print(`${i}`);
      await expect.poll(() => events.length).toBe(4 + i);
      between.cut();
    }
    await attempt.succeed();
    await reading;
    expect(events.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(events.at(-1)?.type).toBe("job.succeeded");
    expect((await client.job(job.id)).state).toBe("succeeded");
  });

  it("rejects with the gateway's own code", async () => {
    const client = new BerthClient({ url: rig.url, key: "wrong" });
    await expect(client.me()).rejects.toMatchObject({ code: "auth.invalid" });
    const good = new BerthClient({ url: rig.url, key: rig.keys.pro });
    await expect(good.submit({ agent: "nobody", prompt: "x" })).rejects.toMatchObject({
      code: "agent.unknown",
    });
  });

  it("gives up on a gateway that never answers, after its patience", async () => {
    const client = new BerthClient({ url: "http://127.0.0.1:1", key: "k", patienceMs: 300 });
    await expect(client.me()).rejects.toMatchObject({ code: "gateway.unavailable" });
  });
});
