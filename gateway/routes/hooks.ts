/** What happens around every request: id, authentication, idempotency, problems, log line, metrics. */
import type { FastifyReply, FastifyRequest } from "fastify";
import { ulid } from "ulid";
import { BerthError } from "../../protocols/errors.ts";
import { ID_PATTERN } from "../../protocols/ids.ts";
import { type Span, type Tracer, traceFields } from "../../runtime/tracing.ts";
import { admitRequest } from "../admission.ts";
import { addAuditHooks, noteDenial } from "../audit-trail.ts";
import { tokenOf } from "../auth/tokens.ts";
import { fingerprintOf } from "../idempotency.ts";
import { errorOf, retryAfterOf, toProblem, withoutBody } from "../problem.ts";
import { retryAfterHeader } from "../rate-headers.ts";
import type { Services } from "../services.ts";
import type { App } from "./app.ts";
import { allowedMethods } from "./route-table.ts";

const PROBLEM_TYPE = "application/problem+json; charset=utf-8";

/** The caller's own request id if it is an identifier, else a new one. */
export function requestId(header: string | string[] | undefined): string {
  if (typeof header === "string" && ID_PATTERN.test(header)) return header;
  return `req_${ulid()}`;
}

/** Hooks of every route. */
export function addHooks(app: App, services: Services): void {
  const { clock, logger, metrics, tracer } = services;
  app.decorateRequest("span", null);
  app.decorateRequest("principal", null);
  app.decorateRequest("reservation", null);
  app.decorateRequest("startedAt", 0);
  app.decorateRequest("seed", undefined);
  app.decorateRequest("audited", null);
  app.decorateRequest("problemCode", null);

  app.addHook("onRequest", async (request, reply) => {
    request.startedAt = clock.monotonic();
    if (tracer.isOn) request.span = startSpan(tracer, request);
    reply.header("x-request-id", request.id);
    reply.header("cache-control", "no-store");
    const { headers, httpVersion } = request.raw;
    if (headers.host === undefined && httpVersion === "1.1") {
      throw new BerthError("request.malformed", "the request has no Host header");
    }
  });

  app.addHook("onRequest", async (request, reply) => {
    if (request.method !== "OPTIONS" || isPreflight(request)) return;
    const methods = allowedMethods(app, request);
    if (methods === undefined) throw new BerthError("request.not_found");
    await reply.code(204).header("allow", methods).send();
  });

  app.addHook("onResponse", async (request, reply) => {
    const route = request.routeOptions.url ?? "none";
    const labels = { method: request.method, route, status: String(reply.statusCode) };
    const seconds = (clock.monotonic() - request.startedAt) / 1_000;
    metrics.count("berth_gateway_requests_total", labels);
    metrics.observe("berth_gateway_request_seconds", seconds, { route });
    request.span?.set({ "http.response.status_code": reply.statusCode });
    request.span?.end();
    const trace = traceFields(request.span?.traceparent);
    const fields = { ...labels, ...trace, request: request.id, tenant: request.principal?.tenant };
    logger.debug({ ...fields, ms: Math.round(seconds * 1_000) }, "request");
  });

  app.setErrorHandler((thrown: Error, request, reply) =>
    sendProblem(services, request, reply, thrown),
  );
  app.setNotFoundHandler((request, reply) => {
    const methods = allowedMethods(app, request);
    const isMissing = methods === undefined || methods.split(", ").includes(request.method);
    if (!isMissing) reply.header("allow", methods);
    const code = isMissing ? "request.not_found" : "request.method_not_allowed";
    return sendProblem(services, request, reply, new BerthError(code));
  });
}

/** Named by the route, never by the path: that would be another name for each job. */
function startSpan(tracer: Tracer, { headers, id, method, routeOptions }: FastifyRequest): Span {
  const route = routeOptions.url ?? "none";
  const { traceparent } = headers;
  return tracer.start(`${method} ${route}`, {
    kind: "server",
    parent: typeof traceparent === "string" ? traceparent : undefined,
    attributes: { "http.request.method": method, "http.route": route, "berth.request": id },
  });
}

/** Browsers ask before they call from another origin; those questions are answered by the CORS rules. */
function isPreflight({ method, headers }: FastifyRequest): boolean {
  return (
    method === "OPTIONS" &&
    headers.origin !== undefined &&
    headers["access-control-request-method"] !== undefined
  );
}

export function sendProblem(
  services: Pick<Services, "logger" | "denials">,
  request: FastifyRequest,
  reply: FastifyReply,
  thrown: Error,
): FastifyReply {
  const isSecret = request.routeOptions?.config?.secretBody === true;
  const error = isSecret ? withoutBody(errorOf(thrown)) : errorOf(thrown);
  request.problemCode = error.code;
  noteDenial(services, request, error.code);
  if (error.status >= 500) {
    request.span?.fail(error);
    const trace = traceFields(request.span?.traceparent);
    services.logger.error(
      { error: thrown, code: error.code, request: request.id, ...trace },
      "a request failed",
    );
  }
  const retryAfterMs = retryAfterOf(error);
  if (retryAfterMs !== undefined && (error.status === 429 || error.status === 503)) {
    reply.header("retry-after", retryAfterHeader(retryAfterMs));
  }
  if (error.status === 401) reply.header("www-authenticate", 'Bearer realm="berth"');
  // A body that was not read to its end would be taken for the next request.
  if (error.code === "request.too_large") reply.header("connection", "close");
  // A request that finds no way through the router has met none of the hooks.
  reply.header("x-request-id", request.id).header("cache-control", "no-store");
  const problem = toProblem(error, request.id);
  return reply
    .code(problem.status)
    .header("content-type", PROBLEM_TYPE)
    .serializer((value: unknown) => JSON.stringify(value))
    .send(problem);
}

/** Hooks of the routes under `/v1`: authentication in front of all, idempotency around POST. */
export function addApiHooks(app: App, services: Services): void {
  app.addHook("onRequest", async (request, reply) => {
    if (request.routeOptions.config.ownAuth === true) return;
    await admitRequest(services, request, reply, () => tokenOf(request.headers));
  });
  app.addHook("preHandler", (request, reply) => reserve(services, request, reply));
  addAuditHooks(app, services);
  // The last before the handler: what that calls is part of the request's trace.
  app.addHook("preHandler", (request, _reply, done) => {
    if (request.span) services.tracer.within(request.span, done);
    else done();
  });
  app.addHook("onSend", async (request, reply, payload) => {
    const { reservation } = request;
    if (!reservation) return payload;
    request.reservation = null;
    const location = reply.getHeader("location");
    try {
      await reservation.settle({
        status: reply.statusCode,
        ...(typeof location === "string" ? { location } : {}),
        body: typeof payload === "string" ? payload : "",
      });
    } catch (error) {
      // The caller's work is done; a repetition finds the reservation and gets the same ids (I2).
      services.logger.warn({ error, request: request.id }, "an idempotent answer was not kept");
    }
    return payload;
  });
}

async function reserve(services: Services, request: FastifyRequest, reply: FastifyReply) {
  const key = request.headers["idempotency-key"];
  const { principal } = request;
  if (request.method !== "POST" || typeof key !== "string" || !principal) return;
  const begun = await services.idempotency.begin({
    caller: `${principal.scope}/${principal.tenant ?? ""}/${principal.user}`,
    secret: request.routeOptions.config.secretAnswer ? tokenOf(request.headers) : undefined,
    key,
    fingerprint: fingerprintOf(request.method, request.url, request.body),
  });
  if (!("replay" in begun)) {
    request.reservation = begun;
    return;
  }
  const { status, location, body } = begun.replay;
  if (location !== undefined) reply.header("location", location);
  const type = status >= 400 ? PROBLEM_TYPE : "application/json; charset=utf-8";
  reply.code(status).header("idempotency-replayed", "true").header("content-type", type);
  reply.serializer((text: unknown) => String(text));
  await reply.send(body);
}

declare module "fastify" {
  interface FastifyContextConfig {
    /** The route authenticates by itself: the WebSocket, which may do so in its first frame. */
    ownAuth?: boolean;
    /** The body holds a secret: no answer may say what stood in it. */
    secretBody?: boolean;
    /** The answer holds a secret: kept answers are sealed with the caller's credential. */
    secretAnswer?: boolean;
  }
}
