/** The gateway: one HTTP listener for the API, streams and dashboard, one for metrics. */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import cors from "@fastify/cors";
import helmet from "@fastify/helmet";
import Fastify from "fastify";
import {
  serializerCompiler,
  validatorCompiler,
  type ZodTypeProvider,
} from "fastify-type-provider-zod";
import { ulid } from "ulid";
import { BerthError } from "../protocols/errors.ts";
import { apiKeyRecordSchema, tenantRecordSchema } from "../protocols/records.ts";
import { boundedDenials } from "../runtime/denials.ts";
import { noTracer, type Tracer } from "../runtime/tracing.ts";
import { Attachments } from "./attachments.ts";
import { createAccess } from "./auth/access.ts";
import { jwtVerifier } from "./auth/jwt.ts";
import { watchBucket } from "./auth/watched-bucket.ts";
import { DEFAULT_TUNING, type GatewayConfig } from "./config.ts";
import { Drain } from "./drain.ts";
import { HostCensus } from "./host-census.ts";
import { createIdempotency } from "./idempotency.ts";
import { Jobs } from "./jobs.ts";
import { RequestLimiter } from "./limits/request-limiter.ts";
import { Strangers } from "./limits/strangers.ts";
import { StreamBounds } from "./limits/stream-bounds.ts";
import { createListener, followKeyPair, schemeOf, type TlsSource, tlsOptions } from "./listener.ts";
import { SessionFeeds } from "./reader/session-feed.ts";
import { accountRoutes } from "./routes/account.ts";
import { actorRoutes } from "./routes/actors.ts";
import type { App } from "./routes/app.ts";
import { auditRoutes } from "./routes/audit.ts";
import { credentialRoutes } from "./routes/credentials.ts";
import { registerDashboard } from "./routes/dashboard.ts";
import { deadLetterRoutes } from "./routes/dead-letters.ts";
import { eventRoutes } from "./routes/events.ts";
import { healthRoutes } from "./routes/health.ts";
import { addApiHooks, addHooks, requestId, sendProblem } from "./routes/hooks.ts";
import { jobRoutes } from "./routes/jobs.ts";
import { nodeRoutes } from "./routes/nodes.ts";
import { openApiRoute, registerOpenApi } from "./routes/openapi.ts";
import { queueRoutes } from "./routes/queues.ts";
import { parserError, writeProblem } from "./routes/raw-problem.ts";
import { keepRouteTable } from "./routes/route-table.ts";
import { sessionRoutes } from "./routes/sessions.ts";
import { registerStreams, streamRoute } from "./routes/stream.ts";
import { tenantRoutes } from "./routes/tenants.ts";
import { workerRoutes } from "./routes/workers.ts";
import type { Services } from "./services.ts";
import { Sessions } from "./sessions.ts";

/** Longer than any identifier, so that a long one is refused by its schema with a clear answer. */
const MAX_PARAM_CHARS = 2_048;
/** Half a year. */
const HSTS_S = 180 * 86_400;

export interface Gateway {
  readonly url: string;
  readonly metricsUrl: string;
  /** Not ready from now on: streams are closed with their cursors, requests in flight finish. Bounded. */
  drain(): Promise<void>;
  /** Drains and stops listening. */
  close(): Promise<void>;
}

export type GatewayDeps = Pick<
  Services,
  "client" | "transport" | "clock" | "logger" | "metrics" | "tiers" | "deadLetters" | "audit"
> & {
  /** Default: no traces. */
  readonly tracer?: Tracer;
  readonly config: GatewayConfig;
  /** The text of `/metrics`. */
  readonly metricsText: () => Promise<string>;
};

export async function startGateway(deps: GatewayDeps): Promise<Gateway> {
  const { services, stop } = await createServices(deps);
  const app = await createApp(services);
  try {
    const { host, metricsHost = host, metricsPort, metricsTls, port, tls } = deps.config;
    app.server.maxConnections = services.tuning.maxConnections;
    await app.listen({ host, port });
    const metricsServer = await listenMetrics(deps, metricsHost, metricsPort);
    const drain = () => services.drain.begin(services.tuning.drainMs);
    let closing: Promise<void> | undefined;
    const close = async () => {
      await drain();
      await bounded(services, app.close());
      metricsServer.closeAllConnections();
      await new Promise((resolve) => metricsServer.close(resolve));
      await stop();
    };
    return {
      url: urlOf(app.server, tls),
      metricsUrl: `${urlOf(metricsServer, metricsTls)}/metrics`,
      drain,
      close: () => (closing ??= close()),
    };
  } catch (thrown) {
    await app.close();
    await stop();
    throw portError(thrown);
  }
}

async function createServices(deps: GatewayDeps) {
  const { clock, client, config, logger, metrics, tiers, transport } = deps;
  const { buckets } = transport;
  const tuning = { ...DEFAULT_TUNING, ...config.tuning };
  const keys = await watchBucket({ buckets, bucket: "keys", schema: apiKeyRecordSchema, logger });
  const tenants = await watchBucket({
    buckets,
    bucket: "tenants",
    schema: tenantRecordSchema,
    logger,
  });
  const services: Services = {
    ...deps,
    tracer: deps.tracer ?? noTracer,
    tuning,
    access: createAccess({
      keys,
      tenants,
      clock,
      jwt: config.jwt && jwtVerifier(config.jwt, clock),
    }),
    idempotency: createIdempotency({ buckets, clock, newSeed: () => ulid() }),
    feeds: new SessionFeeds({ transport, clock, logger, metrics, verifyMs: tuning.verifyMs }),
    attachments: new Attachments({ client, clock, logger, tiers, attachedMs: tuning.attachedMs }),
    hosts: new HostCensus({ transport, clock, logger }),
    drain: new Drain(clock, metrics),
    limiter: new RequestLimiter({ client, clock, logger, metrics, tiers }),
    strangers: new Strangers(clock, tuning.strangersPerMinute),
    streamBounds: new StreamBounds(tiers),
    denials: boundedDenials({ audit: deps.audit, clock, logger, metrics }),
  };
  const stop = async () => {
    await services.denials.close();
    await keys.close();
    await tenants.close();
  };
  return { services, stop };
}

/** The application without a listener: tests send requests into it. */
async function createApp(services: Services): Promise<App> {
  const { config, tuning } = services;
  const http = {
    maxHeaderSize: tuning.headerBytes,
    headersTimeout: tuning.headersMs,
    connectionsCheckingInterval: tuning.lateCheckMs,
    // Refused by a hook of ours, with a problem: Node would answer with an empty body.
    requireHostHeader: false,
  };
  const app = Fastify({
    logger: false,
    bodyLimit: tuning.bodyBytes,
    requestIdHeader: false,
    trustProxy: config.trustedProxies?.length ? [...config.trustedProxies] : false,
    genReqId: (raw) => requestId(raw.headers["x-request-id"]),
    forceCloseConnections: "idle",
    return503OnClosing: false,
    requestTimeout: tuning.requestMs,
    ...(config.tls
      ? { https: { ...http, ...tlsOptions(config.tls, tuning.headersMs) } }
      : { http }),
    routerOptions: { maxParamLength: MAX_PARAM_CHARS },
    clientErrorHandler: (error, socket) => writeProblem(socket, parserError(error)),
    frameworkErrors: (error, request, reply) => {
      void sendProblem(services, request, reply, error);
    },
  }) as unknown as App;
  followKeyPair(app.server, config.tls);
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  takeEmptyJson(app);
  keepRouteTable(app);
  // In front of all hooks: it closes what asked for an upgrade and was refused by one of them.
  await registerStreams(app, services);
  addHooks(app, services);
  await registerSecurity(app, config);
  await registerOpenApi(app, config.version);
  healthRoutes(app, services);
  openApiRoute(app);
  if (config.dashboard !== undefined) await registerDashboard(app, config.dashboard);
  await app.register(async (api) => {
    const scoped = api.withTypeProvider<ZodTypeProvider>();
    addApiHooks(scoped, services);
    const sessions = new Sessions(services);
    const jobs = new Jobs(services, sessions);
    jobRoutes(scoped, services, jobs);
    sessionRoutes(scoped, services, sessions);
    eventRoutes(scoped, services, { jobs, sessions });
    accountRoutes(scoped, services);
    credentialRoutes(scoped, services);
    tenantRoutes(scoped, services);
    workerRoutes(scoped, services);
    queueRoutes(scoped, services);
    deadLetterRoutes(scoped, services);
    nodeRoutes(scoped, services);
    actorRoutes(scoped, services);
    auditRoutes(scoped, services);
    streamRoute(scoped, { services, jobs, sessions });
  });
  await app.ready();
  return app;
}

/** Clients that always say `application/json` do so for bodies that are not there, too. */
function takeEmptyJson(app: App): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.removeContentTypeParser(["application/json", "text/plain"]);
  app.addContentTypeParser("application/json", { parseAs: "string" }, (request, body, done) => {
    if (body === "") done(null, undefined);
    else void parse(request, body as string, done);
  });
}

async function registerSecurity(app: App, config: GatewayConfig): Promise<void> {
  const origins = [...(config.corsOrigins ?? [])];
  await app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        baseUri: ["'none'"],
        connectSrc: ["'self'"],
        fontSrc: ["'self'"],
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
        imgSrc: ["'self'", "data:"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'"],
      },
    },
    crossOriginResourcePolicy: { policy: origins.length > 0 ? "cross-origin" : "same-origin" },
    // Whoever ends TLS in front of us decides that browsers come back by TLS only.
    strictTransportSecurity: config.tls ? { maxAge: HSTS_S } : false,
  });
  await app.register(cors, {
    origin: origins.includes("*") ? true : origins,
    methods: ["GET", "POST", "PUT", "DELETE"],
    exposedHeaders: ["location", "ratelimit", "ratelimit-policy", "retry-after", "x-request-id"],
    maxAge: 600,
  });
}

async function listenMetrics(deps: GatewayDeps, host: string, port: number): Promise<Server> {
  const server = createListener(deps.config.metricsTls, (request, response) => {
    if (request.method !== "GET" || request.url?.split("?")[0] !== "/metrics") {
      response.writeHead(404).end();
      return;
    }
    deps.metricsText().then(
      (text) => response.writeHead(200, { "content-type": "text/plain; version=0.0.4" }).end(text),
      (error: unknown) => {
        deps.logger.error({ error }, "metrics cannot be collected");
        response.writeHead(500).end();
      },
    );
  });
  return await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, () => resolve(server));
  });
}

/** Requests in flight finish, but not for ever. */
async function bounded({ clock, tuning }: Services, work: PromiseLike<unknown>): Promise<void> {
  const late = new AbortController();
  await Promise.race([work, clock.sleep(tuning.drainMs, late.signal)]);
  late.abort();
}

function urlOf(server: Pick<Server, "address">, tls: TlsSource | undefined): string {
  const { address, family, port } = server.address() as AddressInfo;
  const isAny = address === "0.0.0.0" || address === "::";
  const host = isAny ? "127.0.0.1" : family === "IPv6" ? `[${address}]` : address;
  return `${schemeOf(tls)}://${host}:${port}`;
}

function portError(thrown: unknown): unknown {
  const { code, port } = thrown as { code?: string; port?: number };
  if (code !== "EADDRINUSE") return thrown;
  return new BerthError("setup.port_taken", `port ${port} is taken`, { cause: thrown });
}
