/** The proxy by itself, on loopback: real sockets, and every way to hold it up or to be misunderstood by it. */
import { once } from "node:events";
import { createServer as createHttpServer, type IncomingMessage } from "node:http";
import {
  type AddressInfo,
  createConnection,
  createServer,
  type Server,
  type Socket,
} from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { type EgressRig, egressRig } from "../../support/egress-rig.ts";
import { eventually } from "../../support/eventually.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const HOST = "127.0.0.1";
const MIB = 1024 ** 2;
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function listening(server: Server, host = HOST): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
  });
  server.listen(0, host);
  await once(server, "listening");
  closing.push(async () => {
    const ended = once(server, "close");
    server.close();
    for (const socket of sockets) socket.destroy();
    await ended;
  });
  return (server.address() as AddressInfo).port;
}

/** Hands on what comes, as the door of a network does. */
function gates(rig: EgressRig): Server {
  return createServer({ pauseOnConnect: true, allowHalfOpen: true }, (near) => {
    near.on("error", () => {});
    rig.proxy.accept(near);
  });
}

async function opened(host: string, port: number): Promise<Socket> {
  const socket = createConnection({ host, port, allowHalfOpen: true });
  socket.on("error", () => {});
  closing.push(async () => void socket.destroy());
  await once(socket, "connect");
  return socket;
}

interface Scene {
  readonly rig: EgressRig;
  readonly port: number;
  readonly credential: string;
  /** A host of the list, with its port. */
  readonly place: string;
  readonly hostPort: number;
  readonly seen: IncomingMessage[];
  /** What the host received, headers and all. */
  readonly received: string[];
  readonly open: () => Promise<Socket>;
  /** All that comes back until the other side ends. */
  readonly say: (...lines: readonly string[]) => Promise<string>;
}

async function scene(
  options: Partial<Pick<Parameters<typeof egressRig>[0], "clock" | "limits" | "tenantAt">> = {},
): Promise<Scene> {
  const seen: IncomingMessage[] = [];
  const received: string[] = [];
  const host = createHttpServer((request, response) => {
    seen.push(request);
    request.on("data", (chunk) => received.push(String(chunk)));
    request.on("end", () =>
      response.writeHead(302, { Location: "http://other.test/" }).end("host"),
    );
  });
  const hostPort = await listening(host);
  const rig = egressRig({ ...options, resolve: () => Promise.resolve([HOST]) });
  rig.allow("listed", { host: "host.test", ports: [hostPort], allow_private: true });
  const port = await listening(gates(rig));
  const open = () => opened(HOST, port);
  return {
    rig,
    port,
    credential: rig.admit("w1", HOST),
    place: `host.test:${hostPort}`,
    hostPort,
    seen,
    received,
    open,
    async say(...lines) {
      const socket = await open();
      socket.write([...lines, "", ""].join("\r\n"));
      return await allOf(socket);
    },
  };
}

async function allOf(socket: Socket): Promise<string> {
  let said = "";
  socket.on("data", (chunk) => {
    said += String(chunk);
  });
  await Promise.race([new Promise((resolve) => socket.once("end", resolve)), closed(socket)]);
  return said;
}
/** Also when it was reset. */
const closed = (socket: Socket) =>
  new Promise<void>((resolve) => socket.once("close", () => resolve()));
const authorization = (credential: string) => `Proxy-Authorization: ${credential}`;
const statusOf = (said: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(said)?.[1] ?? 0);

/** Opens a tunnel and resolves when it stands. */
async function tunnel({
  open,
  place,
  credential,
}: Pick<Scene, "open" | "place" | "credential">): Promise<Socket> {
  const socket = await open();
  socket.write(`CONNECT ${place} HTTP/1.1\r\n${authorization(credential)}\r\n\r\n`);
  const [answer] = await once(socket, "data");
  expect(statusOf(String(answer))).toBe(200);
  return socket;
}

const INNER = "GET /inner HTTP/1.1\r\nHost: inner\r\n\r\n";

/** The first lines of all requests in what a host received, read as lengths and chunks say. */
function requestsIn(bytes: string): string[] {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return bytes === "" ? [] : [bytes];
  const head = bytes.slice(0, end);
  const rest = bytes.slice(end + 4);
  const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? 0);
  const isChunked = /^transfer-encoding: chunked$/im.test(head);
  const body = isChunked ? rest.indexOf("\r\n0\r\n\r\n") + 7 : length;
  return [head.split("\r\n")[0]!, ...requestsIn(rest.slice(body))];
}

describe("the proxy", () => {
  test("passes a plain request on without what is of the connection alone, and follows no redirect", async () => {
    const { say, place, credential, seen, rig } = await scene();
    const said = await say(
      `POST http://${place}/a/b?c=d HTTP/1.1`,
      "Host: elsewhere.test",
      authorization(credential),
      "Proxy-Connection: keep-alive",
      "Connection: x-mine, keep-alive",
      "X-Mine: 1",
      "X-Theirs: 2",
      "Upgrade: websocket",
      "Content-Length: 0",
    );
    expect(said).toMatch(/^HTTP\/1\.1 302 [\s\S]*location: http:\/\/other\.test\/[\s\S]*host/i);
    expect(seen).toHaveLength(1);
    expect(seen[0]).toMatchObject({ method: "POST", url: "/a/b?c=d" });
    expect(seen[0]?.headers).toEqual({
      host: place,
      "x-theirs": "2",
      "content-length": "0",
      connection: "close",
    });
    expect(rig.counted).toEqual(["allowed/pro"]);
  });

  test("reads a request in one way only: two lengths, smuggled requests and second requests do not pass", async () => {
    const { say, place, credential, seen, received } = await scene();
    const first = [`POST http://${place}/ HTTP/1.1`, `Host: ${place}`, authorization(credential)];
    for (const lengths of [
      ["Content-Length: 4", "Transfer-Encoding: chunked"],
      ["Content-Length: 4", "Content-Length: 5"],
      ["Transfer-Encoding: xchunked"],
      ["Content-Length: +4"],
      ["Content-Length : 4"],
      ["X-A: b\u0000c"],
    ])
      expect([lengths, statusOf(await say(...first, ...lengths))]).toEqual([lengths, 400]);
    expect(seen).toEqual([]);
    const second = `GET http://${place}/second HTTP/1.1\r\nHost: x\r\n${authorization(credential)}`;
    const said = await say(...first, "Content-Length: 0", "", second);
    expect(statusOf(said)).toBe(302);
    const connect = `CONNECT ${place} HTTP/1.1\r\n${authorization(credential)}`;
    await say(...first, "Content-Length: 0", "", connect);
    // A body that looks like a request stays a body, also of a method that has none.
    const inner = "GET /inner HTTP/1.1\r\nHost: x\r\n\r\n";
    await say(
      first[0]!.replace("POST", "GET"),
      ...first.slice(1),
      "Transfer-Encoding: chunked",
      "",
      `${inner.length.toString(16)}\r\n${inner}\r\n0`,
    );
    await eventually(() => received.join("").includes("/inner"));
    expect(seen.map(({ url }) => url)).not.toContain("/second");
    expect(seen.map(({ url }) => url)).not.toContain("/inner");
  });

  test("keeps the end of a body, whatever Connection names: no body becomes a request of its own", async () => {
    const { say, rig, credential } = await scene();
    let bytes = "";
    const raw = createServer((socket) => {
      let own = "";
      socket.on("data", (chunk) => {
        own += String(chunk);
        bytes += String(chunk);
        const isChunked = /^transfer-encoding:/im.test(own);
        if (own.includes(INNER) && (!isChunked || own.endsWith("\r\n0\r\n\r\n")))
          socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
      });
    });
    const port = await listening(raw);
    rig.allow("listed", { host: "host.test", ports: [port], allow_private: true });
    const chunked = `${INNER.length.toString(16)}\r\n${INNER}\r\n0`;
    for (const method of ["GET", "HEAD", "DELETE", "OPTIONS", "POST"])
      for (const named of ["content-length", "Content-Length, host", "host, transfer-encoding"])
        for (const [framing, body] of [
          [`Content-Length: ${INNER.length}`, INNER],
          ["Transfer-Encoding: chunked", chunked],
        ] as const) {
          bytes = "";
          const said = await say(
            `${method} http://host.test:${port}/outer HTTP/1.1`,
            "Host: elsewhere.test",
            authorization(credential),
            `Connection: ${named}`,
            framing,
            "",
            body,
          );
          const requests = requestsIn(bytes);
          expect([method, named, framing, statusOf(said), requests]).toEqual([
            ...[method, named, framing, 200],
            [`${method} /outer HTTP/1.1`],
          ]);
          expect(bytes.match(/^host: .*$/gim)).toEqual([`host: host.test:${port}`, "Host: inner"]);
        }
  });

  test("refuses what is no request to a proxy, or carries a secret for somebody else in its address", async () => {
    const { say, place, credential, rig } = await scene();
    for (const first of [
      "GET / HTTP/1.1",
      `GET https://${place}/ HTTP/1.1`,
      `GET ftp://${place}/ HTTP/1.1`,
      `GET http://user:secret@${place}/ HTTP/1.1`,
      "CONNECT / HTTP/1.1",
      `CONNECT http://${place}/ HTTP/1.1`,
      "CONNECT host.test HTTP/1.1",
    ])
      expect([first, statusOf(await say(first, "Host: x", authorization(credential)))]).toEqual([
        first,
        400,
      ]);
    expect(rig.resolved).toEqual([]);
  });

  test("takes heads of sixteen kilobytes and no longer ones", async () => {
    const { say, place, credential } = await scene();
    const first = [`GET http://${place}/ HTTP/1.1`, "Host: x", authorization(credential)];
    expect(statusOf(await say(...first, `X: ${"a".repeat(12_000)}`))).toBe(302);
    expect(statusOf(await say(...first, `X: ${"a".repeat(20_000)}`))).toBe(431);
  });

  test("cuts whoever sends a head byte by byte, or none, after ten seconds", async () => {
    const clock = new ManualClock();
    const { open, rig, place } = await scene({ clock });
    const sockets = [await open(), await open()];
    const ends = sockets.map(closed);
    await eventually(() => rig.proxy.connections === 2);
    for (const byte of `CONNECT ${place}`.slice(0, 9)) {
      sockets[0]!.write(byte);
      await clock.advance(1_000);
    }
    expect(rig.proxy.connections).toBe(2);
    await clock.advance(1_000);
    await Promise.all(ends);
    await eventually(() => rig.proxy.connections === 0);
  });

  test("ends a tunnel over which nothing goes, and one whose worker is gone, and no other", async () => {
    const clock = new ManualClock();
    const at = await scene({ clock, limits: { idleMs: 60_000, checkMs: 5_000 } });
    const echo = await listening(createServer((socket) => socket.pipe(socket)));
    at.rig.allow("listed", { host: "host.test", ports: [echo], allow_private: true });
    const to = { ...at, place: `host.test:${echo}` };
    const [silent, busy] = [await tunnel(to), await tunnel(to)];
    let echoed = 0;
    busy.on("data", ({ length }: Buffer) => {
      echoed += length;
    });
    const cut = closed(silent);
    for (let n = 0; n < 13; n += 1) {
      busy.write("x");
      await eventually(() => echoed > n);
      await clock.advance(5_000);
    }
    await cut;
    expect(busy.destroyed).toBe(false);
    const gone = closed(busy);
    at.rig.workers.delete("w1");
    await clock.advance(5_000);
    await gone;
    await eventually(() => at.rig.proxy.connections === 0);
  });

  test("holds no more than it may at once, whoever asks, and works when they are gone", async () => {
    const at = await scene({ limits: { connections: 50 } });
    const many = await Promise.all(Array.from({ length: 1_000 }, () => at.open()));
    await eventually(() => many.filter((socket) => !socket.destroyed).length <= 50);
    expect(at.rig.proxy.connections).toBeLessThanOrEqual(50);
    for (const socket of many) socket.destroy();
    await eventually(() => at.rig.proxy.connections === 0);
    await tunnel(at);
  });

  describe.each([
    ["one tenant, in three networks, hold", 1],
    ["a dozen tenants hold", 12],
  ])("while the workers of %s all that they are given", (_, greedy) => {
    test("lets out a worker of another tenant at once, and nobody who was in has to go", async () => {
      const gateways = Array.from({ length: Math.max(3, greedy) }, (__, n) => `127.0.0.${n + 2}`);
      const tenants = new Map(gateways.map((at, n) => [at, `greedy-${n % greedy}`]));
      const at = await scene({
        limits: { connections: 256 },
        tenantAt: (gateway) => tenants.get(gateway),
      });
      /** How one opens a connection from the network of this gateway. */
      const network = async (gateway: string) => {
        const port = await listening(gates(at.rig), gateway);
        return () => opened(gateway, port);
      };
      const all: Socket[] = [];
      for (const gateway of gateways) {
        const open = await network(gateway);
        all.push(...(await Promise.all(Array.from({ length: 80 }, open))));
      }
      const held = () => all.filter((socket) => !socket.destroyed).length;
      // Those that are refused are reset.
      await eventually(() => held() === at.rig.proxy.connections);
      const most = held();
      expect(most).toBeGreaterThanOrEqual(64);
      expect(most).toBeLessThan(200);
      const [credential, open] = [at.rig.admit("w5", "127.0.0.100"), await network("127.0.0.100")];
      for (let n = 0; n < 2; n += 1) await tunnel({ ...at, credential, open });
      expect(held()).toBe(most);
      for (const socket of all) socket.destroy();
      await eventually(() => at.rig.proxy.connections === 2);
    });
  });

  test("connects to the address that it judged, and does not ask for the name again", async () => {
    const { hostPort, seen } = await scene();
    const answers = [[HOST], ["198.51.100.1", HOST], ["::ffff:127.0.0.1"], ["169.254.169.254"]];
    const asked: string[] = [];
    const rebinding = egressRig({
      resolve: (name) => {
        asked.push(name);
        return Promise.resolve(answers[asked.length - 1] ?? [HOST]);
      },
    });
    rebinding.allow("listed", { host: "rebinding.test", ports: [hostPort] });
    const port = await listening(
      createServer({ pauseOnConnect: true }, (near) => rebinding.proxy.accept(near)),
    );
    const own = rebinding.admit("w1", HOST);
    const ask = async () => {
      const socket = createConnection({ host: HOST, port }).on("error", () => {});
      socket.write(`CONNECT rebinding.test:${hostPort} HTTP/1.1\r\n${authorization(own)}\r\n\r\n`);
      return statusOf(await allOf(socket));
    };
    // The second has a public address, where nobody is: loopback beside it is not tried.
    const got = [await ask(), await ask(), await ask(), await ask()];
    expect(got).toEqual([403, 504, 403, 403]);
    expect(asked).toHaveLength(4);
    expect(seen).toEqual([]);
    // By the name's own leave the same address is reached.
    rebinding.allow("listed", { host: "rebinding.test", ports: [hostPort], allow_private: true });
    const socket = createConnection({ host: HOST, port }).on("error", () => {});
    closing.push(async () => void socket.destroy());
    socket.write(`CONNECT rebinding.test:${hostPort} HTTP/1.1\r\n${authorization(own)}\r\n\r\n`);
    const [answer] = await once(socket, "data");
    expect(statusOf(String(answer))).toBe(200);
  });

  test("says when a host has no address, or does not answer", async () => {
    const nobody = await scene();
    const failing = egressRig({ resolve: () => Promise.reject(new Error("NXDOMAIN")) });
    failing.allow("listed", "nobody.test");
    const port = await listening(
      createServer({ pauseOnConnect: true }, (near) => failing.proxy.accept(near)),
    );
    const socket = createConnection({ host: HOST, port });
    socket.write(
      `CONNECT nobody.test:443 HTTP/1.1\r\n${authorization(failing.admit("w1", HOST))}\r\n\r\n`,
    );
    expect(await allOf(socket)).toMatch(/^HTTP\/1\.1 502 [\s\S]*nobody\.test has no address/);
    nobody.rig.allow("listed", { host: "host.test", ports: [1], allow_private: true });
    const said = await nobody.say("CONNECT host.test:1 HTTP/1.1", authorization(nobody.credential));
    expect(said).toMatch(/^HTTP\/1\.1 504 [\s\S]*host\.test does not answer/);
    expect([...failing.counted, ...nobody.rig.counted]).toEqual([
      "unresolved/pro",
      "unreachable/pro",
    ]);
    expect(failing.denied).toEqual([]);
  });

  test("holds nothing of what a slow side does not take", async () => {
    const at = await scene();
    let sent = 0;
    const source = createServer((socket) => {
      const chunk = Buffer.alloc(64 * 1024);
      const more = () => {
        while (sent < 64 * MIB && socket.write(chunk)) sent += chunk.length;
      };
      socket.on("drain", more).on("error", () => {});
      more();
    });
    const port = await listening(source);
    at.rig.allow("listed", { host: "host.test", ports: [port], allow_private: true });
    const socket = await at.open();
    socket.pause();
    socket.write(`CONNECT host.test:${port} HTTP/1.1\r\n${authorization(at.credential)}\r\n\r\n`);
    await eventually(() => sent > 0);
    let before = -1;
    await eventually(() => {
      const isStill = before === sent;
      before = sent;
      return isStill;
    });
    expect(sent).toBeLessThan(32 * MIB);
  });

  test("tells of a refusal once, however often it is repeated", async () => {
    const { say, credential, rig } = await scene();
    for (let n = 0; n < 3; n += 1)
      await say("CONNECT secret.test:443 HTTP/1.1", authorization(credential));
    expect(rig.denied).toEqual([
      { worker: "w1", tenant: "acme", host: "secret.test", port: 443, reason: "not_listed" },
    ]);
    expect(rig.counted).toEqual(Array(3).fill("not_listed/pro"));
    expect(rig.resolved).toEqual([]);
  });
});
