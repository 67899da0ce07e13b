/** One job, one trace: from the request at the gateway through every actor to the agent's process. */
import { expect, test } from "vitest";
import { startBerth } from "../support/berth.ts";
import { eventually } from "../support/eventually.ts";
import { type CollectedSpan, startCollector } from "../support/otlp-collector.ts";
import { openStream } from "../support/stream-client.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const CALLER = "b7ad6b7169203331";

/** The names of the spans that lead from a span up to the caller's. */
function wayUp(spans: readonly CollectedSpan[], span: CollectedSpan | undefined): string[] {
  const way: string[] = [];
  let at = span;
  while (at) {
    way.push(at.name);
    const parent: string | undefined = at.parentSpanId;
    if (parent === CALLER) return [...way, "caller"];
    at = spans.find(({ spanId }) => spanId === parent);
  }
  return way;
}

test("a job's trace joins gateway, user, session, place, the order to its worker and the agent's environment", async () => {
  await using collector = await startCollector();
  await using berth = await startBerth({
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_TRACES_SAMPLER: "parentbased_always_off",
    },
  });
  const headers = {
    authorization: `Bearer ${berth.keys.free}`,
    "content-type": "application/json",
    traceparent: `00-${TRACE}-${CALLER}-01`,
  };
  const submit = async (prompt: string) => {
    const body = JSON.stringify({ agent: "shell", prompt });
    const answer = await fetch(`${berth.url}/v1/jobs`, { method: "POST", headers, body });
    expect(answer.status).toBe(202);
    return (await answer.json()) as { id: string; session_id: string };
  };
  const job = await submit("echo the trace is $TRACEPARENT");
  const events = await eventually(
    async () => {
      const answer = await fetch(`${berth.url}/v1/jobs/${job.id}/events`, {
        headers: { authorization: headers.authorization, accept: "application/json" },
      });
      const text = await answer.text();
      return text.includes('"job.succeeded"') && text;
    },
    { name: "the job succeeded", within: 30_000 },
  );
  await berth.stop();

  const spans = collector.spans.filter(({ traceId }) => traceId === TRACE);
  const named = (name: string) => spans.find((span) => span.name === name);
  expect(wayUp(spans, named("user submit"))).toEqual([
    "user submit",
    "ask user submit",
    "POST /v1/jobs",
    "caller",
  ]);
  expect(wayUp(spans, named("session queued")).slice(0, 2)).toEqual([
    "session queued",
    "user submit",
  ]);
  expect(wayUp(spans, named("shared-pool enqueue")).slice(0, 2)).toEqual([
    "shared-pool enqueue",
    "user submit",
  ]);
  expect(wayUp(spans, named("session assign")).slice(0, 2)).toEqual([
    "session assign",
    "user submit",
  ]);
  const run = named("tool session.run-attempt");
  expect(wayUp(spans, run).slice(0, 2)).toEqual(["tool session.run-attempt", "session assign"]);
  expect(named("session frame")?.parentSpanId).toBe(run?.spanId);
  expect(wayUp(spans, named("user finished")).at(-1)).toBe("caller");
  // Every span of the trace leads to the caller: nothing hangs loose.
  for (const span of spans) expect(wayUp(spans, span).at(-1), span.name).toBe("caller");
  expect(events).toContain(`the trace is 00-${TRACE}-${run?.spanId}-01`);
  expect(collector.text()).not.toContain("the trace is");
  expect(berth.logs()).toContain(`"trace_id":"${TRACE}"`);
}, 60_000);

test("an order over a stream is a trace of its own; a request that fails marks its span, a refused one does not", async () => {
  await using collector = await startCollector();
  await using berth = await startBerth({ env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url } });
  const headers = { authorization: `Bearer ${berth.keys.pro}` };
  const stream = await openStream(berth.url, berth.keys.free);
  stream.send({ type: "submit", ref: "1", job: { agent: "shell", prompt: "echo over a stream" } });
  await stream.until(({ type }) => type === "job.succeeded");
  stream.close();
  const missing = "job_01J00000000000000000000000";
  expect((await fetch(`${berth.url}/v1/jobs/${missing}`, { headers })).status).toBe(404);
  await berth.nats.kill();
  const failed = await fetch(`${berth.url}/v1/jobs`, { headers });
  expect(failed.status).toBe(503);
  await berth.nats.restart();
  await berth.stop();
  const turn = collector.spans.find(({ name }) => name === "user submit");
  expect(wayUp(collector.spans, turn)).toEqual(["user submit", "ask user submit", "WS submit"]);
  const at = (name: string) => collector.spans.find((span) => span.name === name);
  expect(at("GET /v1/jobs/:id")).toMatchObject({
    status: { code: 0 },
    attributes: { "http.response.status_code": 404, "http.route": "/v1/jobs/:id" },
  });
  expect(at("GET /v1/jobs")).toMatchObject({
    status: { code: 2 },
    attributes: { "error.type": "broker.unavailable" },
  });
}, 60_000);
