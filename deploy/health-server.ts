/** Health and metrics of a node that has no gateway, for orchestrators and Prometheus. */
import type { ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createListener, schemeOf, type TlsSource } from "../gateway/listener.ts";
import { BerthError } from "../protocols/errors.ts";

export interface HealthServer {
  readonly url: string;
  close(): Promise<void>;
}

interface HealthOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** What is not well, each with its reason; ready when nothing is. */
  readonly problems: () => Promise<Readonly<Record<string, string>>>;
  readonly metricsText: () => Promise<string>;
  /** Default: without. */
  readonly tls?: TlsSource | undefined;
}

/** Serves `/livez`, `/readyz` and `/metrics`. Throws `setup.port_taken`. */
export async function startHealthServer(options: HealthOptions): Promise<HealthServer> {
  const server = createListener(options.tls, (request, response) => {
    const path = request.url?.split("?")[0] ?? "";
    const isRead = request.method === "GET" || request.method === "HEAD";
    const route = isRead ? ROUTES[path] : undefined;
    if (!route) {
      response.writeHead(isRead ? 404 : 405, isRead ? {} : { allow: "GET, HEAD" }).end();
      return;
    }
    route(options, response).catch(() => response.writeHead(500).end());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const isTaken = cause.code === "EADDRINUSE";
      const taken = new BerthError("setup.port_taken", `port ${options.port} is taken (health)`);
      reject(isTaken ? taken : cause);
    });
    server.listen({ host: options.host, port: options.port }, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const host = options.host === "0.0.0.0" || options.host === "::" ? "127.0.0.1" : options.host;
  return {
    url: `${schemeOf(options.tls)}://${host.includes(":") ? `[${host}]` : host}:${port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

type Route = (options: HealthOptions, response: ServerResponse) => Promise<void>;

const live: Route = (_options, response) => sendJson(response, 200, { status: "ok" });
const ready: Route = async ({ problems }, response) => {
  const checks = await problems();
  const isReady = Object.keys(checks).length === 0;
  await sendJson(response, isReady ? 200 : 503, {
    status: isReady ? "ok" : "unavailable",
    ...(isReady ? {} : { checks }),
  });
};
const metrics: Route = async ({ metricsText }, response) => {
  const text = await metricsText();
  response.writeHead(200, { "content-type": "text/plain; version=0.0.4" }).end(text);
};
const ROUTES: Readonly<Record<string, Route>> = {
  "/livez": live,
  "/health": live,
  "/readyz": ready,
  "/ready": ready,
  "/metrics": metrics,
};

function sendJson(response: ServerResponse, status: number, body: object): Promise<void> {
  response.writeHead(status, { "content-type": "application/json; charset=utf-8" });
  response.end(JSON.stringify(body));
  return Promise.resolve();
}
