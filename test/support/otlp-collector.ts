/** A collector of traces as OpenTelemetry's exporters find it: OTLP over HTTP, as JSON. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly name: string;
  readonly attributes: Readonly<Record<string, string | number>>;
  /** OTLP's: 0 unset, 2 error. */
  readonly status: { readonly code: number; readonly message?: string };
  readonly events: readonly string[];
  readonly links: readonly string[];
}

export interface Collector extends AsyncDisposable {
  readonly url: string;
  readonly spans: readonly CollectedSpan[];
  /** All that was received, to look for what must not be in it. */
  readonly text: () => string;
  /** Of the process that sent the first batch. */
  readonly resource: () => Readonly<Record<string, string | number>>;
}

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue?: string; readonly intValue?: number };
}
interface RawSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly attributes?: readonly Attribute[];
  readonly status?: { readonly code?: number; readonly message?: string };
  readonly events?: readonly { readonly name: string }[];
  readonly links?: readonly { readonly spanId: string }[];
}
interface Batch {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly RawSpan[] }[];
  }[];
}

export async function startCollector(): Promise<Collector> {
  const spans: CollectedSpan[] = [];
  let text = "";
  let resource: Record<string, string | number> = {};
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on("end", () => {
      text += body;
      const batch = JSON.parse(body) as Batch;
      for (const of of batch.resourceSpans) {
        resource = valuesOf(of.resource.attributes);
        spans.push(...of.scopeSpans.flatMap((scope) => scope.spans.map(toSpan)));
      }
      const isRight = request.method === "POST" && request.url === "/v1/traces";
      response.writeHead(isRight ? 200 : 404, { "content-type": "application/json" }).end("{}");
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    text: () => text,
    resource: () => resource,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function toSpan(raw: RawSpan): CollectedSpan {
  return {
    traceId: raw.traceId,
    spanId: raw.spanId,
    parentSpanId: raw.parentSpanId || undefined,
    name: raw.name,
    attributes: valuesOf(raw.attributes ?? []),
    status: { code: 0, ...raw.status },
    events: (raw.events ?? []).map(({ name }) => name),
    links: (raw.links ?? []).map(({ spanId }) => spanId),
  };
}

function valuesOf(attributes: readonly Attribute[]): Record<string, string | number> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [key, value.stringValue ?? Number(value.intValue)]),
  );
}
