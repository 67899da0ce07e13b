/** The one way out of a closed network, attacked from real containers: what the proxy lets through, and that nothing goes past it. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { networkInterfaces } from "node:os";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { Networks } from "../../../executor/drivers/docker/networks.ts";
import { nameResolver } from "../../../executor/egress/resolver.ts";
import { describeDocker } from "../../support/docker.ts";
import { type EgressRig, egressRig } from "../../support/egress-rig.ts";
import { eventually } from "../../support/eventually.ts";
import { type Outside, startOutside } from "../../support/outside.ts";
import {
  DOOR_PORT,
  type TestWorker,
  WORKER_PORT,
  type WorkerNetworks,
  workerNetworks,
} from "../../support/worker-networks.ts";

const PROXY_PORT = 14_223;
const SECRET = "secret.example.test";

/** Sends the text to a place and prints what comes back until the other side ends, or has said enough. */
const SAY = `
  const [host, port, text, enough] = process.argv.slice(1);
  const socket = require("node:net").connect({ host, port: Number(port), timeout: 8000 });
  let said = "";
  const end = () => { process.stdout.write(said, () => process.exit()); };
  socket.on("connect", () => socket.write(text)).on("end", end).on("error", end).on("timeout", end);
  socket.on("data", (chunk) => { said += chunk; if (enough && said.includes(enough)) end(); });`;

/** Looks a name up by the resolver that the container has, and by those that it is given. */
const LOOK_UP = `
  const dns = require("node:dns").promises;
  const [name, ...servers] = process.argv.slice(1);
  const by = (server) => {
    const resolver = new dns.Resolver({ timeout: 1000, tries: 1 });
    if (server) resolver.setServers([server]);
    return resolver.resolve4(name);
  };
  const tcp = (host) => new Promise((resolve, reject) => {
    const socket = require("node:net").connect({ host, port: 53, timeout: 2000 });
    socket.on("connect", () => resolve("open")).on("error", reject).on("timeout", () => reject(new Error()));
  });
  const all = [dns.lookup(name), by(), ...servers.map(by), ...servers.map(tcp)];
  Promise.allSettled(all).then((ends) => {
    process.stdout.write(JSON.stringify(ends.map(({ status }) => status)), () => process.exit());
  });`;

/**
 * Opens many connections and sends half a head over each. Once all but `kept` are cut, sends the rest over those that are
 * left, and prints how many of them are answered: each that still lives.
 */
const CROWD = `
  const { connect } = require("node:net");
  const [host, port, many, kept] = process.argv.slice(1).map((text, at) => (at === 0 ? text : Number(text)));
  const live = new Set();
  let cut = 0, answered = 0, isFinal = false;
  const settle = () => {
    if (!isFinal && cut >= many - kept) {
      isFinal = true;
      for (const socket of live) socket.write("mple.com:1 HTTP/1.1\\r\\nHost: api.example.com\\r\\n\\r\\n");
    }
    if (isFinal && cut + answered === many) process.stdout.write(String(answered), () => process.exit());
  };
  for (let n = 0; n < many; n += 1) {
    const socket = connect({ host, port }, () => socket.write("CONNECT api.exa"));
    live.add(socket);
    socket.on("error", () => {});
    socket.on("data", () => { if (live.delete(socket)) { answered += 1; settle(); } });
    socket.on("close", () => { if (live.delete(socket)) { cut += 1; settle(); } });
  }`;

describeDocker("a worker's way out", () => {
  let outside: Outside;
  let rig: WorkerNetworks;
  let egress: EgressRig;
  let networks: Networks;
  /** On all addresses of the host, as many services are. */
  let service: Server;
  let worker: TestWorker;
  let other: TestWorker;
  let credential: string;

  beforeAll(async () => {
    outside = await startOutside();
    egress = egressRig({ resolve: nameResolver([outside.privateAddress]) });
    rig = workerNetworks();
    const accept: EgressRig["proxy"]["accept"] = (near) => egress.proxy.accept(near);
    networks = await rig.open({
      proxy: { port: PROXY_PORT, accept },
      nameservers: async () => [outside.privateAddress],
    });
    service = createServer((_, response) => response.end("host")).listen(0, "0.0.0.0");
    await once(service, "listening");
    const [ann, bob] = ["ann", "bob"].map(
      (user) => ({ kind: "user", tenant: "acme", user }) as const,
    );
    worker = await rig.startWorker(networks, ann!, { internet: false });
    other = await rig.startWorker(networks, bob!, { internet: false });
    for (const { address } of [worker, other])
      await eventually(async () => (await fetch(`http://${address}:${WORKER_PORT}`)).ok);
  });
  beforeEach(() => {
    credential = egress.admit("w1", worker.network.gateway);
    egress.allow("listed", { host: "*.example.com", ports: [outside.port, 443] });
  });
  afterAll(async () => {
    service?.close();
    await rig?.[Symbol.asyncDispose]();
    await outside?.[Symbol.asyncDispose]();
  });

  const toProxy = (text: string, { enough = "", by = worker } = {}) =>
    by.run(SAY, by.network.gateway, String(PROXY_PORT), text, enough);
  const head = (first: string, ...lines: readonly string[]) =>
    [first, ...lines, "", ""].join("\r\n");
  const connectTo = (authority: string, ...lines: readonly string[]) =>
    toProxy(
      head(
        `CONNECT ${authority} HTTP/1.1`,
        `Host: ${authority}`,
        ...(lines.length > 0 ? lines : [`Proxy-Authorization: ${credential}`]),
      ),
      { enough: "\r\n\r\n" },
    );
  const statusOf = (said: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(said)?.[1] ?? 0);

  test("leads to a host of the list by its name, through a tunnel and by a plain request, and by curl as it is", async () => {
    const place = `api.example.com:${outside.port}`;
    const tunnel = await toProxy(
      head(`CONNECT ${place} HTTP/1.1`, `Proxy-Authorization: ${credential}`) +
        head("GET / HTTP/1.1", `Host: ${place}`, "Connection: close"),
      { enough: "\r\noutside" },
    );
    expect(tunnel).toMatch(/^HTTP\/1\.1 200 Connection established\r\n\r\nHTTP\/1\.1 200 OK/);
    expect(tunnel).toMatch(/outside$/);
    const plain = await toProxy(
      head(
        `GET http://${place}/a?b HTTP/1.1`,
        `Host: ${place}`,
        `Proxy-Authorization: ${credential}`,
      ),
    );
    expect(plain).toMatch(/^HTTP\/1\.1 200 OK[\s\S]*outside/);
    const [name, token] = Buffer.from(credential.slice(6), "base64").toString().split(":");
    const proxy = `http://${name}:${token}@${worker.network.gateway}:${PROXY_PORT}`;
    const CURL = `process.stdout.write(require("node:child_process").execFileSync("curl",
      ["-sS", process.argv[2]], { env: { ...process.env, http_proxy: process.argv[1] } }))`;
    expect(await worker.run(CURL, proxy, `http://${place}/`)).toBe("outside");
  });

  test.each([
    ["api.other.com:443", "api.other.com is not on the list"],
    [`${SECRET}:443`, `${SECRET} is not on the list`],
    ["api.example.com:22", "api.example.com is not to be reached at port 22"],
    ["169.254.169.254:80", "169.254.169.254 is an address"],
    ["127.0.0.1:443", "127.0.0.1 is an address"],
    ["[::1]:443", "::1 is an address"],
    ["[::ffff:169.254.169.254]:80", "::ffff:169.254.169.254 is an address"],
    ["0x7f000001:443", "0x7f000001 is an address"],
  ])("is refused to %s, with a sentence that names it", async (authority, sentence) => {
    const said = await connectTo(authority);
    expect(statusOf(said)).toBe(403);
    const [host] = authority.replace(/[[\]]/g, "").split(/:\d+$/);
    expect(said).toContain(`berth: ${sentence}`);
    expect(egress.denied.at(-1)).toMatchObject({ worker: "w1", tenant: "acme", host });
  });

  test("is refused to the host's services, other networks, and workers, also where any host may be reached", async () => {
    egress.allow("any");
    const { port } = service.address() as AddressInfo;
    const places = [
      `${worker.network.gateway}:${port}`,
      `${worker.network.gateway}:${DOOR_PORT}`,
      `${other.network.gateway}:${DOOR_PORT}`,
      `${other.network.gateway}:${PROXY_PORT}`,
      `${other.address}:${WORKER_PORT}`,
      `${outside.privateAddress}:80`,
      ...hostAddresses().map((host) => `${host}:${port}`),
    ];
    for (const place of places)
      expect([place, statusOf(await connectTo(place))]).toEqual([place, 403]);
    const itself = `${worker.network.gateway}:${PROXY_PORT}`;
    expect(statusOf(await connectTo(itself))).toBe(403);
  });

  test("is nobody's without the token of a worker that lives in the same network", async () => {
    const place = `api.example.com:${outside.port}`;
    const basic = (text: string) =>
      `Proxy-Authorization: Basic ${Buffer.from(text).toString("base64")}`;
    const token = Buffer.from(credential.slice(6), "base64").toString().split(":")[1] ?? "";
    egress.admit("w2", other.network.gateway);
    for (const line of [
      "X-None: 1",
      basic("w1:"),
      basic(`w1:${token.slice(1)}`),
      basic(`w2:${token}`),
      basic(`:${token}`),
      `Proxy-Authorization: Bearer ${token}`,
      `Authorization: ${credential}`,
    ])
      expect([line, statusOf(await connectTo(place, line))]).toEqual([line, 407]);
    expect(statusOf(await connectTo(place))).toBe(200);
    // The right one, stolen: from a network that is not its worker's.
    const stolen = head(`CONNECT ${place} HTTP/1.1`, `Proxy-Authorization: ${credential}`);
    expect(statusOf(await toProxy(stolen, { by: other, enough: "\r\n\r\n" }))).toBe(407);
    egress.workers.delete("w1");
    expect(statusOf(await connectTo(place))).toBe(407);
  });

  test("is bounded for one worker, and stays open to another and, afterwards, to that one", async () => {
    const place = `api.example.com:${outside.port}`;
    const foreign = egress.admit("w2", other.network.gateway);
    const crowd = worker.run(CROWD, worker.network.gateway, String(PROXY_PORT), "1000", "128");
    await eventually(() => egress.proxy.connections >= 100);
    const said = await toProxy(
      head(`CONNECT ${place} HTTP/1.1`, `Proxy-Authorization: ${foreign}`),
      { by: other, enough: "\r\n\r\n" },
    );
    expect(statusOf(said)).toBe(200);
    expect(Number(await crowd)).toBe(128);
    await eventually(() => egress.proxy.connections < 100);
    expect(statusOf(await connectTo(place))).toBe(200);
  });

  test("carries no question for a name: by no resolver, over no protocol, and not through the proxy", async () => {
    const { privateAddress, publicAddress } = outside;
    const before = outside.asked.length;
    const open = await rig.startWorker(
      networks,
      { kind: "tenant", tenant: "umbrella" },
      { dns: [privateAddress] },
    );
    // The listener hears what can leave: a worker with a direct way out is heard.
    await open.run(LOOK_UP, "control.example.test", privateAddress);
    await eventually(() => outside.asked.slice(before).includes("over tcp"));
    expect(outside.asked.slice(before)).toContain("control.example.test");
    const heard = outside.asked.length;
    const servers = [privateAddress, publicAddress, worker.network.gateway];
    const ends = JSON.parse(await worker.run(LOOK_UP, SECRET, ...servers)) as string[];
    expect(ends).toHaveLength(2 + 2 * servers.length);
    expect(new Set(ends)).toEqual(new Set(["rejected"]));
    expect(statusOf(await connectTo(`${SECRET}:443`))).toBe(403);
    expect(statusOf(await connectTo(`data.${SECRET}:443`))).toBe(403);
    // Whatever would still be under way has arrived when this has.
    expect(statusOf(await connectTo(`last.example.com:${outside.port}`))).toBe(200);
    const after = outside.asked.slice(heard);
    expect(after).toContain("last.example.com");
    expect(after.filter((name) => name !== "last.example.com")).toEqual([]);
  });
});

const hostAddresses = () =>
  Object.values(networkInterfaces()).flatMap((all) =>
    (all ?? []).flatMap(({ family, address }) => (family === "IPv4" ? address : [])),
  );
