/**
 * OpenTelemetry as the `Tracer` port: spans in batches to an OTLP/HTTP collector, on only when an endpoint is configured.
 * The queue is bounded and what does not fit is dropped, so a collector that is slow or gone costs traces and nothing else.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import {
  type Context,
  type Span as OtelSpan,
  type Tracer as OtelTracer,
  ROOT_CONTEXT,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from "@opentelemetry/resources";
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  NodeTracerProvider,
  ParentBasedSampler,
  type Sampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
} from "@opentelemetry/sdk-trace-node";
import { type BerthError, ERROR_TABLE } from "../protocols/errors.ts";
import type { Clock } from "../runtime/clock.ts";
import {
  noTracer,
  parseTraceparent,
  type Span,
  type SpanOptions,
  type Tracer,
} from "../runtime/tracing.ts";
import type { Config } from "./config.ts";

export interface Tracing {
  readonly tracer: Tracer;
  /** Sends what is left; bounded. */
  stop(): Promise<void>;
}

interface Collaborators {
  readonly config: Config;
  readonly clock: Clock;
  /** Of the process: `berth-node`, `berth-gateway`. OTEL_SERVICE_NAME overrides it. */
  readonly service: string;
  readonly version: string;
  /** Told, once a minute at most, that spans could not be delivered. */
  readonly failed: (error: unknown) => void;
}

const STOP_MS = 2_000;
const COMPLAIN_EVERY_MS = 60_000;

export function startTracing(parts: Collaborators): Tracing {
  const { clock, config, service, version } = parts;
  const url = endpointOf(config);
  if (url === undefined) return { tracer: noTracer, stop: () => Promise.resolve() };
  const name = config.OTEL_SERVICE_NAME ?? service;
  const own = resourceFromAttributes({ "service.name": name, "service.version": version });
  const provider = new NodeTracerProvider({
    resource: defaultResource()
      .merge(detectResources({ detectors: [envDetector] }))
      .merge(own),
    sampler: samplerOf(config),
    spanProcessors: [new BatchSpanProcessor(complaining(new OTLPTraceExporter({ url }), parts))],
  });
  const stop = async () => {
    const late = new AbortController();
    const ended = provider.shutdown().catch(() => undefined); // `failed` has been told.
    await Promise.race([ended, clock.sleep(STOP_MS, late.signal)]);
    late.abort();
  };
  return { tracer: otelTracer(provider.getTracer("berth", version)), stop };
}

/** The general endpoint is a prefix, that of traces is taken as it is (OpenTelemetry's protocol exporter specification). */
function endpointOf(config: Config): string | undefined {
  if (config.OTEL_SDK_DISABLED === "true") return undefined;
  const { OTEL_EXPORTER_OTLP_ENDPOINT: base, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: own } = config;
  return own ?? (base === undefined ? undefined : `${base.replace(/\/+$/, "")}/v1/traces`);
}

function samplerOf({ OTEL_TRACES_SAMPLER: name, OTEL_TRACES_SAMPLER_ARG: ratio }: Config): Sampler {
  const root = name.endsWith("always_off")
    ? new AlwaysOffSampler()
    : name.endsWith("traceidratio")
      ? new TraceIdRatioBasedSampler(ratio)
      : new AlwaysOnSampler();
  return name.startsWith("parentbased_") ? new ParentBasedSampler({ root }) : root;
}

function complaining(inner: SpanExporter, { clock, failed }: Collaborators): SpanExporter {
  let quietUntil = Number.NEGATIVE_INFINITY;
  return {
    export(spans, done) {
      inner.export(spans, (result) => {
        const now = clock.monotonic();
        if (result.error && now >= quietUntil) {
          quietUntil = now + COMPLAIN_EVERY_MS;
          failed(result.error);
        }
        done(result);
      });
    },
    shutdown: () => inner.shutdown(),
    ...(inner.forceFlush ? { forceFlush: () => inner.forceFlush?.() ?? Promise.resolve() } : {}),
  };
}

const KINDS = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  consumer: SpanKind.CONSUMER,
  internal: SpanKind.INTERNAL,
} as const;

function otelTracer(tracer: OtelTracer): Tracer {
  const current = new AsyncLocalStorage<string>();
  return {
    isOn: true,
    start(name, options) {
      return new TracedSpan(startSpan(tracer, name, options));
    },
    active: () => current.getStore(),
    within: (span, fn) => current.run(span.traceparent, fn),
  };
}

function startSpan(tracer: OtelTracer, name: string, options: SpanOptions): OtelSpan {
  const links = (options.links ?? []).flatMap((link) => contextOf(link) ?? []);
  return tracer.startSpan(
    name,
    {
      kind: KINDS[options.kind],
      ...(options.attributes ? { attributes: options.attributes } : {}),
      links: links.map((context) => ({ context })),
    },
    parentOf(options.parent),
  );
}

function parentOf(traceparent: string | undefined): Context {
  const context = contextOf(traceparent);
  return context ? trace.setSpanContext(ROOT_CONTEXT, context) : ROOT_CONTEXT;
}

function contextOf(traceparent: string | undefined): SpanContext | undefined {
  const parsed = parseTraceparent(traceparent);
  if (!parsed) return undefined;
  const { flags, spanId, traceId } = parsed;
  return { traceId, spanId, traceFlags: flags, isRemote: true };
}

class TracedSpan implements Span {
  readonly traceparent: string;
  readonly #span: OtelSpan;
  #isOver = false;

  constructor(span: OtelSpan) {
    const { spanId, traceFlags, traceId } = span.spanContext();
    this.traceparent = `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`;
    this.#span = span;
  }

  set(attributes: Parameters<Span["set"]>[0]): void {
    this.#span.setAttributes(attributes);
  }

  event(name: string, attributes?: Parameters<Span["event"]>[1]): void {
    this.#span.addEvent(name, attributes);
  }

  /** Its own message may quote what a tenant wrote: the code and its title say what happened. */
  fail({ code }: BerthError): void {
    this.#span.setAttribute("error.type", code);
    this.#span.setStatus({
      code: SpanStatusCode.ERROR,
      message: `${code}: ${ERROR_TABLE[code].title}`,
    });
  }

  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#span.end();
  }
}
