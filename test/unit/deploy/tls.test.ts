/** Listeners by TLS: what they speak, what they refuse, and a certificate that is renewed. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { loadConfig } from "../../../deploy/config.ts";
import { startHealthServer } from "../../../deploy/health-server.ts";
import { openListenerTls, openTlsFiles, type TlsFiles } from "../../../deploy/tls-files.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { eventually } from "../../support/eventually.ts";
import { type GatewayRig, startGatewayRig } from "../../support/gateway-rig.ts";

let folder: string;
const path = (name: string) => join(folder, name);
function make(name: string): void {
  execFileSync(
    "openssl",
    [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-days", "1", "-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1"],
      ...["-keyout", path(`${name}.key`), "-out", path(`${name}.crt`)],
    ],
    { stdio: "ignore" },
  );
}
/** Puts a pair where the listeners look. */
async function install(name: string): Promise<void> {
  await writeFile(path("tls.crt"), await readFile(path(`${name}.crt`)));
  await writeFile(path("tls.key"), await readFile(path(`${name}.key`)));
}
const trust = (name: string) => readFile(path(`${name}.crt`), "utf8");

let rig: GatewayRig | undefined;
let files: TlsFiles;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "berth-tls-"));
  for (const name of ["first", "second"]) make(name);
});
afterAll(() => rm(folder, { recursive: true, force: true }));
afterEach(async () => {
  await rig?.[Symbol.asyncDispose]();
  rig = undefined;
  files?.stop();
});

async function open(): Promise<GatewayRig> {
  await install("first");
  const base = { clock: systemClock, logger: silentLogger, checkMs: 50 };
  files = await openTlsFiles({ ...base, certPath: path("tls.crt"), keyPath: path("tls.key") });
  rig = await startGatewayRig({ config: { tls: files, metricsTls: files } });
  return rig;
}

async function get(url: string, ca: string, headers = {}): Promise<IncomingMessage> {
  const call = request(url, { ca, headers, agent: false });
  call.end();
  const [answer] = (await once(call, "response")) as [IncomingMessage];
  answer.resume();
  return answer;
}

async function nameAt(url: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket: TLSSocket = connect({
    host: hostname,
    port: Number(port),
    rejectUnauthorized: false,
  });
  await once(socket, "secureConnect");
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return String(CN);
}

describe("a gateway with a certificate", () => {
  it("serves API, streams and metrics by TLS, and tells browsers to come back so", async () => {
    const { gateway, keys, url } = await open();
    expect(url).toMatch(/^https:/);
    const ca = await trust("first");
    const answer = await get(`${url}/v1/me`, ca, { authorization: `Bearer ${keys.pro}` });
    expect(answer.statusCode).toBe(200);
    expect(answer.headers["strict-transport-security"]).toMatch(/^max-age=15552000/);
    expect(gateway.metricsUrl).toMatch(/^https:/);
    expect((await get(gateway.metricsUrl, ca)).statusCode).toBe(200);
    const socket = new WebSocket(`${url.replace("https", "wss")}/v1/stream`, {
      ca,
      headers: { authorization: `Bearer ${keys.pro}` },
    });
    const [frame] = (await once(socket, "message")) as [Buffer];
    expect(JSON.parse(frame.toString())).toMatchObject({ type: "welcome" });
    socket.close();
  });

  it("speaks no old TLS and no plain HTTP", async () => {
    const { url } = await open();
    const { hostname, port } = new URL(url);
    const to = { host: hostname, port: Number(port), rejectUnauthorized: false };
    const old = connect({
      ...to,
      minVersion: "TLSv1.1",
      maxVersion: "TLSv1.1",
      ciphers: "DEFAULT@SECLEVEL=0",
    });
    const [error] = (await once(old, "error")) as [Error];
    expect(error).toBeInstanceOf(Error);
    const plain = connectTcp(to.port, to.host);
    plain.on("error", () => undefined);
    plain.write("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n");
    let text = "";
    plain.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
    });
    await once(plain, "close");
    expect(text).not.toContain("200");
  });

  it("takes a renewed certificate over, keeps connections, and goes on when a pair does not fit", async () => {
    const { keys, url } = await open();
    const socket = new WebSocket(`${url.replace("https", "wss")}/v1/stream`, {
      ca: await trust("first"),
      headers: { authorization: `Bearer ${keys.pro}` },
    });
    await once(socket, "message");
    await writeFile(path("tls.key"), await readFile(path("second.key")));
    expect(await nameAt(url)).toBe("first");
    await writeFile(path("tls.crt"), "not a certificate");
    expect(await nameAt(url)).toBe("first");
    await install("second");
    await eventually(async () => (await nameAt(url)) === "second");
    socket.send(JSON.stringify({ type: "ping", ref: "still" }));
    const [frame] = (await once(socket, "message")) as [Buffer];
    expect(JSON.parse(frame.toString())).toEqual({ type: "pong", ref: "still" });
    socket.close();
  });
});

describe("without a certificate", () => {
  it("nothing tells browsers to use TLS", async () => {
    rig = await startGatewayRig();
    const answer = await fetch(`${rig.url}/livez`);
    expect(answer.headers.get("strict-transport-security")).toBeNull();
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    expect(answer.headers.get("referrer-policy")).toBe("no-referrer");
    expect(answer.headers.get("x-frame-options")).toBeTruthy();
  });
});

describe("the configuration", () => {
  it("names files that are there and belong together, or the start fails", async () => {
    await install("first");
    const both = { BERTH_TLS_CERT: path("tls.crt"), BERTH_TLS_KEY: path("tls.key") };
    const parts = { clock: systemClock, logger: silentLogger };
    const tls = await openListenerTls(loadConfig({ ...both, BERTH_METRICS_TLS: "on" }), parts);
    expect(tls.api).toBe(tls.metrics);
    tls.stop();
    const apiOnly = await openListenerTls(loadConfig(both), parts);
    expect(apiOnly.metrics).toBeUndefined();
    apiOnly.stop();
    expect(() => loadConfig({ BERTH_TLS_CERT: "x" })).toThrow(/BERTH_TLS_KEY/);
    expect(() => loadConfig({ BERTH_METRICS_TLS: "on" })).toThrow(/BERTH_METRICS_TLS/);
    for (const wrong of [path("none"), path("second.key")]) {
      const config = loadConfig({ ...both, BERTH_TLS_KEY: wrong });
      await expect(openListenerTls(config, parts)).rejects.toMatchObject({
        code: "config.invalid",
      });
    }
  });

  it("may put a node's health and metrics behind TLS", async () => {
    await install("first");
    const both = { BERTH_TLS_CERT: path("tls.crt"), BERTH_TLS_KEY: path("tls.key") };
    const parts = { clock: systemClock, logger: silentLogger };
    const tls = await openListenerTls(loadConfig({ ...both, BERTH_METRICS_TLS: "on" }), parts);
    const health = await startHealthServer({
      host: "127.0.0.1",
      port: 0,
      problems: () => Promise.resolve({}),
      metricsText: () => Promise.resolve("up 1\n"),
      tls: tls.metrics,
    });
    expect((await get(`${health.url}/readyz`, await trust("first"))).statusCode).toBe(200);
    await health.close();
    tls.stop();
  });
});
