/** `GET /v1/stream`: the WebSocket. */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import websocket from "@fastify/websocket";
import type { FastifyReply, FastifyRequest } from "fastify";
import { BerthError } from "../../protocols/errors.ts";
import { STREAM_PROTOCOL } from "../../protocols/frames.ts";
import { admitRequest, tierOf } from "../admission.ts";
import { streamTokenOf } from "../auth/tokens.ts";
import type { Services } from "../services.ts";
import { Connection, type StreamDeps } from "../stream/connection.ts";
import { type App, principalOf } from "./app.ts";
import { writeProblem } from "./raw-problem.ts";

export async function registerStreams(app: App, services: Services): Promise<void> {
  await app.register(websocket, {
    options: {
      maxPayload: services.tuning.frameBytes,
      perMessageDeflate: false,
      // The one with the token must not be echoed: it would be logged where the token would not.
      handleProtocols: (offered) => (offered.has(STREAM_PROTOCOL) ? STREAM_PROTOCOL : false),
    },
    // Streams are closed by the drain, each with its cursors.
    preClose: (done: () => void) => done(),
    errorHandler: (error, socket) => {
      services.logger.debug({ error }, "a stream's connection failed");
      socket.terminate();
    },
  });
  endRefusedUpgrades(app, services);
  app.websocketServer.on("wsClientError", (error: Error, socket: Duplex) =>
    writeProblem(socket, new BerthError("request.malformed", error.message)),
  );
}

/** Node's own time limits end with the request for an upgrade: what did not become a stream in time is closed. */
function endRefusedUpgrades(app: App, { clock, tuning }: Services): void {
  const limits = new WeakMap<Duplex, () => void>();
  app.server.on("upgrade", (_request: unknown, socket: Duplex) => {
    const stop = clock.after(tuning.headersMs, () => socket.destroy());
    limits.set(socket, stop);
    socket.once("close", stop);
  });
  app.websocketServer.on("connection", (_stream: unknown, { socket }: IncomingMessage) =>
    limits.get(socket)?.(),
  );
}

export function streamRoute(app: App, deps: StreamDeps): void {
  app.route({
    method: "GET",
    url: "/v1/stream",
    schema: { hide: true },
    config: { ownAuth: true },
    preValidation: async (request, reply) => admit(deps.services, request, reply),
    handler: (_request, reply) => {
      reply.header("upgrade", "websocket").header("connection", "upgrade");
      throw new BerthError("request.upgrade_required");
    },
    wsHandler: (socket, request) => {
      const connection = new Connection(socket, request, deps);
      const token = streamTokenOf(request.headers);
      if (token !== undefined) void connection.authenticate(token);
    },
  });
}

/** Refusals that need no open socket come as HTTP answers. */
async function admit(services: Services, request: FastifyRequest, reply: FastifyReply) {
  const { config, drain, tuning } = services;
  if (drain.draining) throw new BerthError("node.draining");
  if (drain.streams >= tuning.maxStreams) {
    throw new BerthError("request.rate_limited", "this gateway holds as many streams as it may");
  }
  checkOrigin(request, config.corsOrigins ?? []);
  if (streamTokenOf(request.headers) === undefined) {
    // It may still show its credential in a frame; until then it is a stranger that holds a socket.
    if (services.strangers.isOver(request.ip)) throw services.strangers.refusal();
    services.strangers.count(request.ip);
    return;
  }
  await admitRequest(services, request, reply, () => streamTokenOf(request.headers));
  const principal = principalOf(request);
  services.streamBounds.check(principal, await tierOf(services, principal));
}

/** Browsers send cookies nowhere here, but another site's page must not open streams either. */
function checkOrigin(request: FastifyRequest, allowed: readonly string[]): void {
  const { origin, host } = request.headers;
  if (origin === undefined || allowed.includes(origin) || allowed.includes("*")) return;
  if (URL.canParse(origin) && new URL(origin).host === host) return;
  throw new BerthError("auth.forbidden", "this origin may not open a stream");
}
