/** Traces over asks, tells, turns and tools, as a collector gets them. */
import { createServer } from "node:net";
import { afterEach, describe, expect, onTestFinished, test } from "vitest";
import { loadConfig } from "../../../deploy/config.ts";
import { startTracing, type Tracing } from "../../../deploy/tracing.ts";
import { BerthError } from "../../../protocols/errors.ts";
import { actorClient } from "../../../runtime/actor-client.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { DEFAULT_SUPERVISION } from "../../../runtime/supervision.ts";
import { noTracer, parseTraceparent, traceFields } from "../../../runtime/tracing.ts";
import { Probe, probe, probeTools } from "../../support/actors.ts";
import { startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { type Collector, startCollector } from "../../support/otlp-collector.ts";

const PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

function tracingOf(env: Readonly<Record<string, string>>, failed = (_error: unknown) => {}) {
  return startTracing({
    config: loadConfig(env),
    clock: systemClock,
    service: "test",
    version: "1.2.3",
    failed,
  });
}

let collector: Collector | undefined;
afterEach(async () => {
  await collector?.[Symbol.asyncDispose]();
  collector = undefined;
});

async function collecting(env: Readonly<Record<string, string>> = {}) {
  collector = await startCollector();
  const tracing = tracingOf({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...env });
  return { collector, tracing };
}

async function traced(tracing: Tracing) {
  const cluster = await startCluster({
    definitions: [
      probe({
        supervision: {
          ...DEFAULT_SUPERVISION,
          maxAttempts: 2,
          backoff: { initialMs: 1, maxMs: 1 },
        },
      }),
    ],
    tools: probeTools(),
    perNode: () => ({ tracer: tracing.tracer }),
  });
  onTestFinished(() => cluster[Symbol.asyncDispose]());
  const { transport } = cluster;
  return {
    cluster,
    client: actorClient({ transport, clock: systemClock, tracer: tracing.tracer }),
  };
}

describe("a trace", () => {
  test("goes from an ask through tells to the turns of other actors, and on to tools and their results", async () => {
    const { collector, tracing } = await collecting();
    const { client } = await traced(tracing);
    const actor = client.actor(Probe, "acme", "a");
    await actor.relay({ to: "b", texts: ["x"] }, { traceparent: PARENT });
    await actor.run({ n: 2 }, { traceparent: PARENT });
    await eventually(
      async () => {
        expect((await actor.read({}, { traceparent: PARENT })).results).toEqual(["4"]);
        expect((await client.actor(Probe, "acme", "b").read({})).heard).toEqual(["x"]);
      },
      { name: "all is done" },
    );
    await tracing.stop();
    const ofTrace = collector.spans.filter(({ traceId }) => PARENT.includes(traceId));
    const named = (name: string) => ofTrace.find((span) => span.name === name);
    const parentOf = (name: string) =>
      ofTrace.find(({ spanId }) => spanId === named(name)?.parentSpanId)?.name;
    expect(named("tell probe relay")?.parentSpanId).toBe("b7ad6b7169203331");
    expect(parentOf("probe relay")).toBe("tell probe relay");
    expect(parentOf("probe hear")).toBe("probe relay");
    expect(parentOf("tool test.double")).toBe("probe run");
    expect(parentOf("probe ran")).toBe("tool test.double");
    expect(parentOf("probe read")).toBe("ask probe read");
    expect(named("probe relay")).toMatchObject({
      attributes: {
        "berth.actor.kind": "probe",
        "berth.actor.tenant": "acme",
        "berth.actor.key": "a",
        "berth.message": "relay",
        "berth.lane": "user",
        "berth.epoch": 1,
        "berth.attempt": 1,
      },
      events: ["committed", "published"],
      status: { code: 0 },
    });
    expect(collector.resource()).toMatchObject({
      "service.name": "test",
      "service.version": "1.2.3",
    });
  });

  test("says which turn failed, at which attempt, and quotes nothing of its message", async () => {
    const { collector, tracing } = await collecting();
    const { client, cluster } = await traced(tracing);
    await client.actor(Probe, "acme", "a").hear({ text: "poison secret" });
    await eventually(
      async () => (await cluster.transport.deadLetters.list({ limit: 1 })).letters.length === 1,
      { name: "the letter" },
    );
    await tracing.stop();
    const turns = collector.spans.filter(({ name }) => name === "probe hear");
    expect(turns.map(({ attributes }) => attributes["berth.attempt"])).toEqual([1, 2]);
    for (const { attributes, status } of turns) {
      expect(attributes["error.type"]).toBe("actor.failed");
      expect(status).toEqual({ code: 2, message: "actor.failed: The actor's handler failed" });
    }
    expect(collector.text()).not.toContain("secret");
  });

  test("links the turns that share a commit to the first of them", async () => {
    const { collector, tracing } = await collecting();
    const { client } = await traced(tracing);
    const actor = client.actor(Probe, "acme", "a");
    await actor.add({ n: 1 });
    await Promise.all(Array.from({ length: 20 }, () => actor.add({ n: 1 })));
    await tracing.stop();
    const turns = collector.spans.filter(({ name }) => name === "probe add");
    expect(turns).toHaveLength(21);
    const linked = turns.filter(({ links }) => links.length > 0);
    expect(linked.length).toBeGreaterThan(0);
    const ids = new Set(turns.map(({ spanId }) => spanId));
    for (const { links } of linked) expect(ids.has(links[0]!)).toBe(true);
  });
});

describe("which traces are kept", () => {
  const start = async (env: Readonly<Record<string, string>>, parents: readonly string[]) => {
    const { collector, tracing } = await collecting(env);
    const { tracer } = tracing;
    for (const parent of parents) tracer.start("x", { kind: "internal", parent }).end();
    tracer.start("root", { kind: "internal" }).end();
    await tracing.stop();
    return collector.spans.map(({ name, parentSpanId }) => (parentSpanId ? `${name}+` : name));
  };

  test.each<[Readonly<Record<string, string>>, string[]]>([
    [{}, ["x+", "root"]],
    [{ OTEL_TRACES_SAMPLER: "always_on" }, ["x+", "x+", "root"]],
    [{ OTEL_TRACES_SAMPLER: "always_off" }, []],
    [{ OTEL_TRACES_SAMPLER: "parentbased_always_off" }, ["x+"]],
    [{ OTEL_TRACES_SAMPLER: "traceidratio", OTEL_TRACES_SAMPLER_ARG: "0" }, []],
    [{ OTEL_TRACES_SAMPLER: "parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG: "0" }, ["x+"]],
  ])("%j", async (env, kept) => {
    expect(await start(env, [PARENT, UNSAMPLED])).toEqual(kept);
  });

  test("what is not kept is still passed on, so that everyone decides alike", async () => {
    const { tracing } = await collecting({ OTEL_TRACES_SAMPLER: "always_off" });
    const { traceparent } = tracing.tracer.start("x", { kind: "internal", parent: PARENT });
    expect(traceparent).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-[\da-f]{16}-00$/);
    await tracing.stop();
  });
});

describe("tracing", () => {
  test("is off without an endpoint, and when it is disabled", () => {
    expect(tracingOf({}).tracer).toBe(noTracer);
    const disabled = {
      OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1",
      OTEL_SDK_DISABLED: "true",
    };
    expect(tracingOf(disabled).tracer).toBe(noTracer);
  });

  test("takes the endpoint of traces as it is", async () => {
    collector = await startCollector();
    const tracing = tracingOf({
      OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1",
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/v1/traces`,
    });
    tracing.tracer.start("x", { kind: "internal" }).end();
    await tracing.stop();
    expect(collector.spans).toHaveLength(1);
  });

  test("passes a trace on when it is off", async () => {
    const cluster = await startCluster({ definitions: [probe()], tools: probeTools() });
    onTestFinished(() => cluster[Symbol.asyncDispose]());
    const mail: unknown[] = [];
    const { mailboxes } = cluster.transport;
    const transport = {
      ...cluster.transport,
      mailboxes: {
        ...mailboxes,
        send: (...args: Parameters<typeof mailboxes.send>) => {
          mail.push(args[2]);
          return mailboxes.send(...args);
        },
      },
    };
    const client = actorClient({ transport, clock: systemClock });
    await client.actor(Probe, "acme", "a").hear({ text: "x" }, { traceparent: PARENT });
    expect(mail).toMatchObject([{ traceparent: PARENT }]);
  });

  test("of a collector that is gone costs a stop no more than its bound", async () => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => {
      silent.listen(0, "127.0.0.1", resolve);
    });
    onTestFinished(() => {
      silent.close();
    });
    const { port } = silent.address() as { port: number };
    const gone = tracingOf({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1" });
    const mute = tracingOf({ OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` });
    for (let n = 0; n < 5_000; n += 1) {
      gone.tracer.start("x", { kind: "internal" }).end();
      mute.tracer.start("x", { kind: "internal" }).end();
    }
    const startedAt = performance.now();
    await Promise.all([gone.stop(), mute.stop()]);
    expect(performance.now() - startedAt).toBeLessThan(4_000);
  }, 15_000);

  test("says once that a collector refuses, not for each batch", async () => {
    const { collector } = await collecting();
    const failures: unknown[] = [];
    const tracing = tracingOf(
      { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/elsewhere` },
      (error) => failures.push(error),
    );
    for (let n = 0; n < 1_500; n += 1) tracing.tracer.start("x", { kind: "internal" }).end();
    await tracing.stop();
    expect(failures).toHaveLength(1);
  });

  test("knows the trace inside which it runs, over awaits", async () => {
    const { tracing } = await collecting();
    const { tracer } = tracing;
    const span = tracer.start("x", { kind: "internal" });
    expect(tracer.active()).toBeUndefined();
    await tracer.within(span, async () => {
      await Promise.resolve();
      expect(tracer.active()).toBe(span.traceparent);
    });
    span.fail(new BerthError("internal.unexpected"));
    span.end();
    span.end();
    await tracing.stop();
  });
});

describe("a traceparent", () => {
  test.each([
    ["", undefined],
    ["garbage", undefined],
    [`${PARENT}-more`, undefined],
    [PARENT.replace("00-", "ff-"), undefined],
    ["00-00000000000000000000000000000000-b7ad6b7169203331-01", undefined],
    ["00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", undefined],
    [PARENT, 1],
    [UNSAMPLED, 0],
    [`cc${PARENT.slice(2)}-more`, 1],
  ])("%s has the flags %s", (text, flags) => {
    expect(parseTraceparent(text)?.flags).toBe(flags);
  });

  test("is found again in log lines", () => {
    expect(traceFields(PARENT)).toEqual({
      trace_id: "0af7651916cd43dd8448eb211c80319c",
      span_id: "b7ad6b7169203331",
    });
    expect(traceFields(undefined)).toEqual({});
  });
});
