/** Limits of requests and streams: over several gateways, by header and frame, for strangers. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { ulid } from "ulid";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { Strangers } from "../../../gateway/limits/strangers.ts";
import { Session } from "../../../protocols/actors/session.ts";
import type { Limits } from "../../../protocols/api.ts";
import { type GatewayRig, type RigOptions, startGatewayRig } from "../../support/gateway-rig.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { openStream } from "../../support/stream-client.ts";

let rig: GatewayRig | undefined;
afterEach(async () => {
  await rig?.[Symbol.asyncDispose]();
  rig = undefined;
});
async function open(options: RigOptions = {}): Promise<GatewayRig> {
  rig = await startGatewayRig(options);
  return rig;
}

const as = (key: string) => ({ headers: { authorization: `Bearer ${key}` } });
const socketOf = async (url: string): Promise<Socket> => {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
};

describe("requests of one user", () => {
  it("sent to three gateways at once are let through as often as the limit says, not once more", async () => {
    const limit = 90;
    const { another, keys, url } = await open({ tiers: { pro: { requestsPerMinute: limit } } });
    const urls = [url, (await another()).url, (await another()).url];
    const send = async (n: number) => (await fetch(`${urls[n % 3]}/v1/me`, as(keys.pro))).status;
    const statuses = await Promise.all(Array.from({ length: 300 }, (_, n) => send(n)));
    const passed = statuses.filter((status) => status === 200).length;
    expect(passed).toBeLessThanOrEqual(limit);
    // What one gateway holds when another one has nothing left is a part of the last blocks.
    expect(passed).toBeGreaterThan(limit * 0.8);
    expect(statuses.filter((status) => status === 429).length).toBe(300 - passed);
    // Another user of the tenant has its own.
    expect((await fetch(`${url}/v1/me`, as(keys.other))).status).toBe(200);
    expect((await fetch(`${url}/v1/nodes`, as(keys.operator))).status).toBe(200);
  });

  it("are told what is left, and past the limit when to come back", async () => {
    const { api, keys } = await open({ tiers: { free: { requestsPerMinute: 3 } } });
    const key = keys.free;
    const first = await api("GET", "/v1/me", { key });
    expect(first.headers.get("ratelimit-policy")).toBe('"requests";q=3;w=60');
    expect(first.headers.get("ratelimit")).toMatch(/^"requests";r=2;t=(60|59)$/);
    const limits = (await (await api("GET", "/v1/limits", { key })).json()) as Limits;
    expect(limits.requests).toMatchObject({ limit: 3 });
    expect(limits.streams).toEqual({ per_user: 20, per_tenant: 1_000 });
    await api("GET", "/v1/me", { key });
    const refused = await api("GET", "/v1/me", { key });
    expect(refused.status).toBe(429);
    const after = Number(refused.headers.get("retry-after"));
    expect(after).toBeGreaterThan(50);
    expect(after).toBeLessThanOrEqual(60);
    expect(await refused.json()).toMatchObject({ code: "request.rate_limited", retryable: true });
  });

  it("come back with the next window", async () => {
    const { api } = await open({
      tiers: { pro: { requestsPerMinute: 2 } },
      actors: { requestWindowMs: 300 },
    });
    const ok = async () => (await api("GET", "/v1/me")).status === 200;
    expect([await ok(), await ok(), await ok()]).toEqual([true, true, false]);
    await expect.poll(ok, { timeout: 3_000 }).toBe(true);
  });

  it("cost an ask for each block, not each request", async () => {
    const counted = new Map<string, number>();
    const { api } = await open({
      metrics: {
        count: (name) => void counted.set(name, (counted.get(name) ?? 0) + 1),
        gauge: () => undefined,
        observe: () => undefined,
      },
    });
    for (let n = 0; n < 250; n += 1) expect((await api("GET", "/v1/me")).status).toBe(200);
    expect(counted.get("berth_gateway_permit_asks_total")).toBeLessThanOrEqual(2);
  });

  it("go through in a small number while the user's actor cannot be asked, and no more (L3)", async () => {
    const { api, node } = await open({ tiers: { pro: { requestsPerMinute: 100 } } });
    await node.stop();
    const statuses: number[] = [];
    for (let n = 0; n < 8; n += 1) statuses.push((await api("GET", "/v1/me")).status);
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429, 429, 429]);
  }, 30_000);

  it("count as frames of a stream, too, and who goes on all the same is cut", async () => {
    const { keys, url } = await open({
      tiers: { pro: { requestsPerMinute: 10 } },
      tuning: { maxRefusedFrames: 20 },
    });
    const stream = await openStream(url, keys.pro);
    for (let n = 0; n < 12; n += 1) stream.send({ type: "ping", ref: `p${n}` });
    const refused = await stream.frame("error");
    expect(refused).toMatchObject({ code: "request.rate_limited" });
    expect(refused.retry_after_ms).toBeGreaterThan(1_000);
    // The handshake was a request of its own.
    expect(stream.frames.filter(({ type }) => type === "pong").length).toBeLessThanOrEqual(9);
    for (let n = 0; n < 40; n += 1) stream.send({ type: "ping" });
    expect(await stream.closed).toBe(1013);
  });
});

describe("jobs of one user", () => {
  it("sent to three gateways at once are accepted as often as the hour says, not once more", async () => {
    const { another, keys, url } = await open({ tiers: { free: { jobsPerHour: 7 } } });
    const urls = [url, (await another()).url, (await another()).url];
    const submit = async (n: number) => {
      const answer = await fetch(`${urls[n % 3]}/v1/jobs`, {
        method: "POST",
        headers: { ...as(keys.free).headers, "content-type": "application/json" },
        body: JSON.stringify({ agent: "shell", prompt: `${n}` }),
      });
      return answer.status;
    };
    const statuses = await Promise.all(Array.from({ length: 30 }, (_, n) => submit(n)));
    expect(statuses.filter((status) => status === 202).length).toBe(7);
    expect(statuses.filter((status) => status === 429).length).toBe(23);
  });
});

describe("open streams", () => {
  it("are so many per user and per tenant, WebSockets and event streams together", async () => {
    const { api, keys, submit, url } = await open({
      tiers: { pro: { streamsPerUser: 2, streamsPerTenant: 3 } },
    });
    const { session_id } = await submit("x");
    const first = await openStream(url, keys.pro);
    const events = await api("GET", `/v1/sessions/${session_id}/events`, {
      headers: { accept: "text/event-stream" },
    });
    expect(events.status).toBe(200);
    const third = await openStream(url, keys.pro).catch((thrown: unknown) => thrown);
    expect(third).toBeInstanceOf(Error);
    const more = await api("GET", `/v1/sessions/${session_id}/events`, {
      headers: { accept: "text/event-stream" },
    });
    expect(more.status).toBe(429);
    const neighbour = await openStream(url, keys.other);
    await expect(openStream(url, keys.admin)).rejects.toThrow();
    neighbour.close();
    first.close();
    await Promise.all([neighbour.closed, first.closed]);
    await expect
      .poll(async () => {
        const stream = await openStream(url, keys.pro).catch(() => undefined);
        stream?.close();
        return stream !== undefined;
      })
      .toBe(true);
    await events.body?.cancel();
  });
});

describe("a client that leaves before its stream begins", () => {
  it("keeps no stream of its user's", async () => {
    const { api, keys, node, url } = await open({
      tiers: { pro: { streamsPerUser: 2 } },
      tuning: { freshMs: 5_000 },
    });
    const leave = async () => {
      const id = `ses_${ulid()}`;
      const lines = ["Host: x", `Authorization: Bearer ${keys.pro}`, "Accept: text/event-stream"];
      const head = (path: string) => `GET ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`;
      const socket = await socketOf(url);
      // The first answer says that the second request has come; its session is not there yet, and it waits.
      socket.write(head("/livez") + head(`/v1/sessions/${id}/events`));
      await once(socket, "data");
      socket.resetAndDestroy();
      await once(socket, "close");
      const birth = { user: "u1", agent: "shell", tier: "pro" } as const;
      await node.client.actor(Session, "t-pro", id).create(birth);
      return id;
    };
    const ids: string[] = [];
    for (let n = 0; n < 3; n += 1) ids.push(await leave());
    for (const id of ids) expect((await api("GET", `/v1/sessions/${id}`)).status).toBe(200);
    const both = await Promise.all([openStream(url, keys.pro), openStream(url, keys.pro)]);
    for (const stream of both) stream.close();
  });
});

describe("strangers", () => {
  it("that open sockets and show nothing are counted, until they show a credential", async () => {
    const { keys, url } = await open({ tuning: { strangersPerMinute: 3, patienceMs: 60_000 } });
    const at = `${url.replace("http", "ws")}/v1/stream`;
    const come = async () => {
      const socket = new WebSocket(at, "berth.v1");
      return await new Promise<WebSocket | undefined>((resolve) => {
        socket.once("open", () => resolve(socket)).once("error", () => resolve(undefined));
      });
    };
    const first = await come();
    const silent = [await come(), await come()];
    expect(silent.every((socket) => socket !== undefined)).toBe(true);
    expect(await come()).toBeUndefined();
    first!.send(JSON.stringify({ type: "auth", token: keys.pro }));
    await once(first!, "message");
    const next = await come();
    expect(next).toBeDefined();
    for (const socket of [first, next, ...silent]) socket?.terminate();
  });

  it("are told to wait once they failed too often; a credential that is known still works", async () => {
    const { api } = await open({ tuning: { strangersPerMinute: 5 } });
    for (let n = 0; n < 5; n += 1) {
      expect((await api("GET", "/v1/me", { key: `guess-${n}` })).status).toBe(401);
    }
    const answer = await api("GET", "/v1/me", { key: "guess" });
    expect(answer.status).toBe(429);
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
    expect((await api("GET", "/v1/me", { key: null })).status).toBe(429);
    expect((await api("GET", "/v1/me")).status).toBe(200);
  });

  it("are counted per address for a minute, in bounded memory", async () => {
    const clock = new ManualClock();
    const strangers = new Strangers(clock, 2);
    for (let n = 0; n < 2; n += 1) strangers.count("2001:db8::1");
    expect(strangers.isOver("2001:db8::2")).toBe(true);
    expect(strangers.isOver("192.0.2.1")).toBe(false);
    for (let n = 0; n < 20_000; n += 1) strangers.count(`10.1.${n >> 8}.${n & 255}`);
    // Addresses beyond the bound share a count.
    expect(strangers.isOver("203.0.113.9")).toBe(true);
    await clock.advance(60_000);
    expect(strangers.isOver("2001:db8::1")).toBe(false);
  });
});

describe("a connection", () => {
  it("whose headers do not come in time is closed, as is one whose body does not", async () => {
    const { keys, url } = await open({
      tuning: { headersMs: 300, requestMs: 600, lateCheckMs: 100 },
    });
    const slow = await socketOf(url);
    slow.write("GET /v1/me HTTP/1.1\r\nhost: x\r\nx-slow: ");
    const body = await socketOf(url);
    body.write(
      `POST /v1/jobs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${keys.pro}\r\n` +
        'content-type: application/json\r\ncontent-length: 50\r\n\r\n{"agent":',
    );
    for (const socket of [slow, body]) {
      let text = "";
      socket.on("data", (chunk: Buffer) => {
        text += chunk.toString();
      });
      await once(socket, "close");
      expect(text).toContain("application/problem+json");
      expect(text).toContain("request.malformed");
    }
  });

  it.each([
    [
      "by a hook in front of all",
      "GET /v1/me HTTP/1.1\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    ],
    [
      "as a path that is too long",
      `GET /v1/jobs/${"x".repeat(3_000)} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n`,
    ],
    [
      "as a question for methods",
      "OPTIONS /v1/me HTTP/1.1\r\nhost: x\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ],
  ])("that asked for an upgrade and was answered %s is closed", async (_name, text) => {
    const { url } = await open({ tuning: { headersMs: 300 } });
    const socket = await socketOf(url);
    socket.resume();
    const closed = once(socket, "close");
    socket.write(text);
    await closed;
  });

  it("that became a stream has no such limit", async () => {
    const { keys, url } = await open({ tuning: { headersMs: 100, heartbeatMs: 100 } });
    const stream = await openStream(url, keys.pro);
    for (let n = 0; n < 5; n += 1) await once(stream.socket, "ping");
    stream.send({ type: "ping", ref: "still" });
    expect(await stream.frame("pong")).toMatchObject({ ref: "still" });
    stream.close();
  });

  it("with larger headers than are taken is refused", async () => {
    const { url } = await open();
    const socket = await socketOf(url);
    socket.write(`GET /v1/me HTTP/1.1\r\nhost: x\r\nx-large: ${"x".repeat(20_000)}\r\n\r\n`);
    const [chunk] = (await once(socket, "data")) as [Buffer];
    expect(chunk.toString()).toContain("request.too_large");
    await once(socket, "close");
  });

  it("past the bound of the gateway is not taken, and one may come when another has gone", async () => {
    const { url } = await open({ tuning: { maxConnections: 2 } });
    const [one, two] = [await socketOf(url), await socketOf(url)];
    const three = await socketOf(url);
    await once(three, "close");
    one.destroy();
    await expect
      .poll(async () => {
        const socket = await socketOf(url);
        socket.write("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n");
        const answered = await Promise.race([
          once(socket, "data").then(() => true),
          once(socket, "close").then(() => false),
        ]);
        socket.destroy();
        return answered;
      })
      .toBe(true);
    two.destroy();
  });
});

describe("a client of a stream that behaves badly", () => {
  it("is cut when its frames cannot be read again and again, and when it answers no ping", async () => {
    const { keys, url } = await open({ tuning: { maxBadFrames: 3, heartbeatMs: 100 } });
    const bad = await openStream(url, keys.pro);
    for (let n = 0; n < 3; n += 1) bad.raw("{");
    expect(await bad.closed).toBe(4400);
    const silent = new WebSocket(`${url.replace("http", "ws")}/v1/stream`, {
      ...as(keys.pro),
      autoPong: false,
    });
    const [code] = (await once(silent, "close")) as [number];
    expect(code).toBe(4408);
  });
});
