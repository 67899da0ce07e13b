/** The broker of keys by itself, on loopback, in front of a provider that speaks TLS. */
import { once } from "node:events";
import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { createServer as createTlsServer, type Server } from "node:https";
import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { BrokeredProvider } from "../../../protocols/brokered.ts";
import { type Certificate, certificateFor } from "../../support/certificate.ts";
import { type EgressRig, egressRig } from "../../support/egress-rig.ts";
import { eventually } from "../../support/eventually.ts";

const HOST = "127.0.0.1";
const PROVIDER = "api.provider.test";
const KEY = "sk-canary-of-ann-0123456789";

describe("the broker of keys", () => {
  let certificate: Certificate;
  let provider: Server;
  let proxies: ReturnType<typeof createServer>;
  let rig: EgressRig;
  let seen: {
    readonly url: string | undefined;
    readonly headers: IncomingHttpHeaders;
    body: string;
  }[];
  let providers: Record<string, BrokeredProvider>;
  let release: () => void;

  beforeAll(async () => {
    certificate = await certificateFor(PROVIDER);
    provider = createTlsServer(certificate, (request, response) => {
      const one = { url: request.url, headers: request.headers, body: "" };
      seen.push(one);
      request.on("data", (chunk) => {
        one.body += String(chunk);
      });
      request.on("end", () => {
        if (request.url === "/v1/moved") {
          response.writeHead(307, { location: "https://elsewhere.test/v1/x" }).end();
          return;
        }
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.write("data: one\n\n");
        release = () => response.end("data: two\n\n");
        if (request.url !== "/v1/slow") release();
      });
    }).listen(0, HOST);
    proxies = createServer({ pauseOnConnect: true }, (near) => rig.proxy.accept(near));
    proxies.listen(0, HOST);
    await Promise.all([once(provider, "listening"), once(proxies, "listening")]);
    const row = {
      origin: `https://${PROVIDER}:${(provider.address() as AddressInfo).port}`,
      path: "/v1/",
      addressVariable: "URL",
      addressPath: "",
    } as const;
    providers = {
      claude_api: { ...row, api: "anthropic", header: "x-api-key" },
      openai: { ...row, api: "openai", header: "bearer" },
    };
  });
  beforeEach(() => {
    seen = [];
    rig = egressRig({ resolve: () => Promise.resolve([HOST]), providers, ca: certificate.cert });
    const { port } = provider.address() as AddressInfo;
    rig.allow("listed", { host: PROVIDER, ports: [port], allow_private: true });
    rig.admit("w1", HOST);
    for (const name of Object.keys(providers)) rig.keys.set(`acme/ann/${name}`, KEY);
  });
  afterAll(() => {
    provider?.closeAllConnections();
    provider?.close();
    proxies?.close();
  });

  const ask = async (path: string, headers: Record<string, string>, body = "") => {
    const { port } = proxies.address() as AddressInfo;
    const method = body === "" ? "GET" : "POST";
    const asking = httpRequest({ host: HOST, port, path, method, headers, agent: false });
    asking.end(body);
    const [answer] = await once(asking, "response");
    return {
      status: answer.statusCode as number,
      headers: answer.headers,
      text: await text(answer),
    };
  };
  const withKey = (provider = "claude_api", changes = {}) => ({
    "x-api-key": rig.placeholder(provider, changes),
  });

  test("puts the user's key into the provider's header, and passes on no other credential", async () => {
    const headers = {
      ...withKey(),
      "anthropic-version": "2023-06-01",
      cookie: "a=b",
      "x-goog-api-key": "other",
      "proxy-authorization": "Basic x",
    };
    const answer = await ask("/broker/anthropic/v1/messages?beta=true", headers, '{"a":1}');
    expect(answer).toMatchObject({ status: 200, text: "data: one\n\ndata: two\n\n" });
    expect(seen).toHaveLength(1);
    expect(seen[0]).toMatchObject({ url: "/v1/messages?beta=true", body: '{"a":1}' });
    const { "x-api-key": key, host, ...rest } = seen[0]!.headers;
    expect([key, host]).toEqual([KEY, new URL(providers["claude_api"]!.origin).host]);
    expect(rest).toEqual({
      "anthropic-version": "2023-06-01",
      "content-length": "7",
      connection: "close",
    });
    expect(rig.opened).toEqual([
      { tenant: "acme", user: "ann", provider: "claude_api", purpose: "job-1", attempt: 1 },
    ]);
    expect(rig.counted).toEqual(["brokered/pro"]);
    const bearer = { authorization: `Bearer ${rig.placeholder("openai")}` };
    expect((await ask("/broker/openai/v1/responses", bearer)).status).toBe(200);
    expect(seen[1]?.headers).toMatchObject({ authorization: `Bearer ${KEY}` });
    expect(seen[1]?.headers["x-api-key"]).toBeUndefined();
  });

  test("streams an answer as it comes, and passes a redirect on without following it", async () => {
    const { port } = proxies.address() as AddressInfo;
    const asking = httpRequest({
      ...{ host: HOST, port, path: "/broker/anthropic/v1/slow", agent: false },
      headers: withKey(),
    }).end();
    const [answer] = await once(asking, "response");
    const [first] = await once(answer, "data");
    expect(String(first)).toBe("data: one\n\n");
    release();
    expect(await text(answer)).toBe("data: two\n\n");
    const moved = await ask("/broker/anthropic/v1/moved", withKey());
    expect(moved).toMatchObject({
      status: 307,
      headers: { location: "https://elsewhere.test/v1/x" },
    });
    expect(seen).toHaveLength(2);
  });

  test("makes no second request of a body, with the key or without, whatever Connection names", async () => {
    const inner = "GET /v1/inner HTTP/1.1\r\nHost: x\r\n\r\n";
    const { port } = proxies.address() as AddressInfo;
    for (const method of ["GET", "DELETE", "OPTIONS"]) {
      const socket = createConnection({ host: HOST, port });
      socket.write(`${method} /broker/anthropic/v1/outer HTTP/1.1\r\nHost: x\r\n`);
      socket.write(`X-Api-Key: ${rig.placeholder("claude_api")}\r\n`);
      socket.write(`Connection: content-length\r\nContent-Length: ${inner.length}\r\n\r\n`);
      socket.write(inner);
      expect(await text(socket)).toMatch(/^HTTP\/1\.1 200 /);
    }
    expect(seen.map(({ url }) => url)).toEqual(Array(3).fill("/v1/outer"));
    expect(seen.map(({ body }) => body)).toEqual(Array(3).fill(inner));
  });

  test("opens no key for a placeholder that is forged, over, another worker's or provider's, or of a job that has ended", async () => {
    const genuine = rig.placeholder("claude_api");
    const other = egressRig({ resolve: () => Promise.reject(new Error("not asked")) });
    rig.ended.add("job-2");
    const path = "/broker/anthropic/v1/messages";
    const [head = "", mac = ""] = genuine.split(".");
    const forged = Buffer.from('{"tenant":"umbrella"}').toString("base64url");
    for (const shown of [
      "",
      KEY,
      genuine.slice(0, -1),
      `${head}x.${mac}`,
      `berth-placeholder-${forged}.${mac}`,
      rig.placeholder("claude_api", { expires_at: 1 }),
      rig.placeholder("claude_api", { worker: "w2" }),
      rig.placeholder("claude_api", { job: "job-2" }),
    ])
      expect([shown, (await ask(path, { "x-api-key": shown })).status]).toEqual([shown, 401]);
    expect((await ask(path, withKey("openai"))).status).toBe(404);
    expect((await ask("/broker/nobody/v1/messages", withKey("nobody"))).status).toBe(404);
    expect((await ask("/broker/constructor/v1/x", withKey("constructor"))).status).toBe(404);
    rig.workers.delete("w1");
    expect((await ask(path, { "x-api-key": genuine })).status).toBe(401);
    expect([rig.opened, rig.resolved, seen, other.opened]).toEqual([[], [], [], []]);
  });

  test("asks nothing of the provider but what lies below its path, however it is written", async () => {
    for (const path of [
      "",
      "/",
      "/v2/messages",
      "/v1/../admin",
      "/v1/%2e%2e/admin",
      "/v1/..%2fadmin",
      "/v1/a%5c..",
      "//elsewhere.test/v1/",
      "/@elsewhere.test/v1/",
      "@elsewhere.test/v1/",
      "/\\elsewhere.test/v1/",
    ])
      expect([path, (await ask(`/broker/anthropic${path}`, withKey())).status]).toEqual([
        path,
        path.startsWith("@") ? 404 : 403,
      ]);
    expect([rig.opened, seen]).toEqual([[], []]);
  });

  test("gives a key to nobody whose certificate is not the provider's, and opens none for a host that the tenant may not reach", async () => {
    const strict = egressRig({ resolve: () => Promise.resolve([HOST]), providers });
    const { port } = provider.address() as AddressInfo;
    strict.allow("listed", { host: PROVIDER, ports: [port], allow_private: true });
    strict.admit("w1", HOST);
    strict.keys.set("acme/ann/claude_api", KEY);
    rig = strict;
    const path = "/broker/anthropic/v1/messages";
    expect((await ask(path, withKey())).status).toBe(504);
    strict.allow("listed", "other.test");
    const refused = await ask(path, withKey());
    expect([refused.status, refused.text]).toEqual([403, expect.stringContaining(PROVIDER)]);
    strict.allow("none");
    expect((await ask(path, withKey())).status).toBe(403);
    expect([strict.opened, seen]).toEqual([[], []]);
    await eventually(() => strict.proxy.connections === 0);
  });

  test("survives a key that no header can hold, and sends it to nobody", async () => {
    rig.keys.set("acme/ann/claude_api", "sk-\u043a\u043b\u044e\u0447");
    expect((await ask("/broker/anthropic/v1/messages", withKey(), "{}")).status).toBe(502);
    rig.keys.set("acme/ann/claude_api", KEY);
    expect((await ask("/broker/anthropic/v1/messages", withKey(), "{}")).status).toBe(200);
    expect(seen).toHaveLength(1);
  });

  test("sends nothing to a provider that went away while the key was opened, and says so", async () => {
    const sockets: Socket[] = [];
    const keep = (socket: Socket) => void sockets.push(socket);
    provider.on("connection", keep);
    rig.beforeKey = async () => {
      const [socket] = sockets;
      socket?.resetAndDestroy();
      await eventually(() => socket?.closed === true, { name: "the provider is gone" });
      await new Promise(setImmediate);
    };
    const answer = await ask("/broker/anthropic/v1/messages", withKey(), "{}");
    provider.off("connection", keep);
    expect([answer.status, seen]).toEqual([502, []]);
  });

  test("says that there is no key where the user has stored none", async () => {
    const answer = await ask(
      "/broker/anthropic/v1/messages",
      withKey("claude_api", { user: "bob" }),
    );
    expect([answer.status, answer.text]).toEqual([401, expect.stringContaining("stored no key")]);
    expect(seen).toEqual([]);
    const provided = () => new Promise((resolve) => provider.getConnections((_, n) => resolve(n)));
    await eventually(async () => (await provided()) === 0, { name: "the way there is given up" });
  });
});
