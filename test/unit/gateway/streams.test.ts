import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import type { SessionEvent } from "../../../protocols/events.ts";
import { CLOSE_CODES } from "../../../protocols/frames.ts";
import { type GatewayRig, startGatewayRig } from "../../support/gateway-rig.ts";
import { openStream } from "../../support/stream-client.ts";

let rig: GatewayRig;
beforeAll(async () => {
  rig = await startGatewayRig({ tuning: { heartbeatMs: 200, patienceMs: 300 } });
});
afterAll(() => rig[Symbol.asyncDispose]());

const seqs = (events: readonly SessionEvent[]) => events.map(({ seq }) => seq);
const upTo = (last: number, first = 1) =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i);

describe("a WebSocket", () => {
  it("submits, follows and cancels a job", async () => {
    const stream = await openStream(rig.url, rig.keys.pro);
    expect(stream.welcome).toMatchObject({ tenant: "t-pro", user: "u1", tier: "pro" });
    stream.send({ type: "submit", ref: "a", job: { agent: "shell", prompt: "ls" } });
    const { job_id } = await stream.frame("accepted");
    const attempt = await rig.executor.attempt(job_id);
    await attempt.start();
    await attempt.print("one", "two");
    stream.send({ type: "cancel", ref: "c", job_id });
    await stream.frame("done");
    await stream.until((event) => event.type === "job.cancelled");
    expect(stream.events.map(({ type }) => type)).toEqual([
      "job.queued",
      "job.starting",
      "job.started",
      "agent.output",
      "agent.output",
      "job.cancelled",
    ]);
    expect(seqs(stream.events)).toEqual(upTo(6));
    stream.close();
  });

  it("authenticates by its first frame, too, and is closed when it does not", async () => {
    const byFrame = new WebSocket(`${rig.url.replace("http", "ws")}/v1/stream`);
    await once(byFrame, "open");
    byFrame.send(JSON.stringify({ type: "auth", token: rig.keys.free }));
    const [data] = (await once(byFrame, "message")) as [Buffer];
    expect(JSON.parse(data.toString())).toMatchObject({ type: "welcome", tier: "free" });
    byFrame.close();
    const silent = new WebSocket(`${rig.url.replace("http", "ws")}/v1/stream`);
    expect((await once(silent, "close"))[0]).toBe(CLOSE_CODES.auth);
  });

  it("with a wrong token gets 401 before it opens", async () => {
    const socket = new WebSocket(`${rig.url.replace("http", "ws")}/v1/stream`, [
      "berth.v1",
      "berth.bearer.wrong",
    ]);
    const [error] = (await once(socket, "error")) as [Error];
    expect(error.message).toContain("401");
  });

  it("that sends garbage is told, then closed, and nobody else notices", async () => {
    const good = await openStream(rig.url, rig.keys.pro);
    const bad = await openStream(rig.url, rig.keys.pro);
    for (const text of ["{", "[]", '{"type":"no"}', '{"type":"ping","x":1}']) bad.raw(text);
    await expect.poll(() => bad.frames.filter(({ type }) => type === "error").length).toBe(4);
    bad.raw("\u0000\u0001");
    expect(await bad.closed).toBe(CLOSE_CODES.malformed);
    good.send({ type: "ping" });
    await good.frame("pong");
    good.close();
  });

  it("that sends a frame over the limit is closed by the protocol's own code", async () => {
    const stream = await openStream(rig.url, rig.keys.pro);
    stream.raw("x".repeat(3 * 1024 ** 2));
    expect(await stream.closed).toBe(1009);
  });

  it("cannot subscribe to another user's session", async () => {
    const { session_id } = await rig.submit("ls");
    const stream = await openStream(rig.url, rig.keys.other);
    stream.send({ type: "subscribe", session_id, after: 0, ref: "s" });
    expect(await stream.frame("error")).toMatchObject({ code: "session.not_found", ref: "s" });
    stream.close();
  });

  it("is closed when its key is revoked", async () => {
    await rig.addKey("short", { tenant: "t-pro" });
    const stream = await openStream(rig.url, "short");
    await rig.addKey("short", { tenant: "t-pro", revoked: true });
    expect(await stream.closed).toBe(CLOSE_CODES.auth);
  });
});

describe("readers", () => {
  it("that drop and come back with their cursor miss nothing and see nothing twice", async () => {
    const { id, session_id } = await rig.submit("storm", rig.keys.enterprise);
    const attempt = await rig.executor.attempt(id);
    await attempt.start();
    const total = 600;
    const read = async (): Promise<SessionEvent[]> => {
      const seen: SessionEvent[] = [];
      let batch = 7;
      while (seen.at(-1)?.type !== "job.succeeded") {
        const stream = await openStream(rig.url, rig.keys.enterprise);
        stream.send({ type: "subscribe", session_id, after: seen.at(-1)?.seq ?? 0 });
        const enough = seen.length + batch;
        batch = (batch * 3) % 101;
        await stream.until((event) => {
          seen.push(event);
          return seen.length >= enough || event.type === "job.succeeded";
        });
        stream.drop();
      }
      return seen;
    };
    const readers = Array.from({ length: 8 }, read);
    for (let i = 0; i < total / 3; i += 1) await attempt.print(`${i}a`, `${i}b`, `${i}c`);
    await attempt.succeed();
    for (const events of await Promise.all(readers)) expect(seqs(events)).toEqual(upTo(total + 4));
  });

  it("beyond the end wait for what comes after their cursor", async () => {
    const { id, session_id } = await rig.submit("wait", rig.keys.enterprise);
    const attempt = await rig.executor.attempt(id);
    await attempt.start();
    const stream = await openStream(rig.url, rig.keys.enterprise);
    stream.send({ type: "subscribe", session_id, after: 5 });
    await stream.frame("subscribed");
    await attempt.print("4", "5", "6");
    await stream.until(() => true);
    expect(seqs(stream.events)).toEqual([6]);
    stream.close();
    await attempt.succeed();
  });

  it("of server-sent events resume by Last-Event-ID and are told 204 past a job's end", async () => {
    const { id } = await rig.submit("sse", rig.keys.enterprise);
    const attempt = await rig.executor.attempt(id);
    await attempt.start();
    await attempt.print("x");
    await attempt.succeed();
    const read = (last: string) =>
      rig.api("GET", `/v1/jobs/${id}/events`, {
        key: rig.keys.enterprise,
        headers: { accept: "text/event-stream", "last-event-id": last },
      });
    const text = await (await read("3")).text();
    expect(text.match(/^id: (\d+)$/gm)).toEqual(["id: 4", "id: 5"]);
    expect((await read("5")).status).toBe(204);
    expect((await read("x")).status).toBe(422);
  });
});

describe("a draining gateway", () => {
  it("is not ready, closes streams with their cursors, and lets requests finish", async () => {
    const second = await rig.another();
    const { session_id } = await rig.submit("drain", rig.keys.enterprise);
    const stream = await openStream(second.url, rig.keys.enterprise);
    stream.send({ type: "subscribe", session_id, after: 0 });
    await stream.until(() => true);
    await second.drain();
    expect(await stream.closed).toBe(CLOSE_CODES.restart);
    const closing = await stream.frame("closing");
    expect(closing.cursors[session_id]).toBe(stream.events.at(-1)?.seq);
    expect((await fetch(`${second.url}/readyz`)).status).toBe(503);
    expect((await fetch(`${second.url}/livez`)).status).toBe(200);
  });
});
