/**
 * The port for spans over requests, turns and tools, joined by W3C Trace Context (`traceparent`). The composition root
 * gives them to OpenTelemetry. Off it costs a test of `isOn`; what arrives with a `traceparent` is passed on all the same.
 */
import type { BerthError } from "../protocols/errors.ts";

/** Bounded in size and number; never a payload or a secret. */
type Attributes = Readonly<Record<string, string | number | boolean>>;

export interface Span {
  /** What to send along, so that what follows joins this trace. */
  readonly traceparent: string;
  set(attributes: Attributes): void;
  /** Something that happened at this moment of the span. */
  event(name: string, attributes?: Attributes): void;
  fail(error: BerthError): void;
  /** Once; later calls do nothing. */
  end(): void;
}

export interface SpanOptions {
  readonly kind: "server" | "client" | "consumer" | "internal";
  /** A `traceparent`; without one, or with one that cannot be read, a trace begins. */
  readonly parent?: string | undefined;
  /** Other spans that this one belongs with. */
  readonly links?: readonly string[];
  readonly attributes?: Attributes;
}

export interface Tracer {
  /** False: `start` must not be called, so that nothing is built for it. */
  readonly isOn: boolean;
  start(name: string, options: SpanOptions): Span;
  /** The `traceparent` of the span inside which this code runs. */
  active(): string | undefined;
  /** Runs `fn` inside `span`, and what it awaits. */
  within<T>(span: Span, fn: () => T): T;
}

export const noTracer: Tracer = {
  isOn: false,
  start() {
    throw new TypeError("tracing is off");
  },
  active: () => undefined,
  within: (_span, fn) => fn(),
};

/** W3C Trace Context, level 1: a later version may go on after the flags. */
const TRACEPARENT = /^([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(?:-.*)?$/;
const ZEROS = /^0+$/;

export interface TraceParent {
  readonly traceId: string;
  readonly spanId: string;
  readonly flags: number;
}

/** Undefined for what is not a `traceparent`: the trace then begins anew, as the standard says. */
export function parseTraceparent(text: string | undefined): TraceParent | undefined {
  const [, version, traceId = "", spanId = "", flags = ""] = TRACEPARENT.exec(text ?? "") ?? [];
  if (version === undefined || version === "ff") return undefined;
  if (version === "00" && text?.length !== 55) return undefined;
  if (ZEROS.test(traceId) || ZEROS.test(spanId)) return undefined;
  return { traceId, spanId, flags: Number.parseInt(flags, 16) };
}

/** The fields by which a log line is found from its trace; none when there is no trace. */
export function traceFields(traceparent: string | undefined): {
  readonly trace_id?: string;
  readonly span_id?: string;
} {
  const parsed = parseTraceparent(traceparent);
  return parsed ? { trace_id: parsed.traceId, span_id: parsed.spanId } : {};
}
