/** `/livez` asks nobody; `/readyz` asks the broker and fails while draining. The seeds' names answer too. */
import { formatTime } from "../../protocols/api.ts";
import { asBerthError } from "../../protocols/errors.ts";
import type { Services } from "../services.ts";
import type { App } from "./app.ts";

const PROBE_KEY = "readiness-probe";
const PROBE_MS = 1_500;

export interface Readiness {
  readonly ready: boolean;
  readonly checks: Readonly<Record<string, string>>;
}

export async function checkReadiness(services: Services): Promise<Readiness> {
  const { clock, drain, transport } = services;
  const late = new AbortController();
  const broker = await Promise.race([
    transport.buckets.get("tenants", PROBE_KEY).then(
      () => "ok",
      (error: unknown) => asBerthError(error).code,
    ),
    clock.sleep(PROBE_MS, late.signal).then(() => "slow"),
  ]);
  late.abort();
  const draining = drain.draining ? "draining" : "ok";
  return {
    ready: broker === "ok" && draining === "ok",
    checks: { broker, drain: draining, streams: String(drain.streams) },
  };
}

export function healthRoutes(app: App, services: Services): void {
  const hidden = { schema: { hide: true } } as const;
  for (const path of ["/livez", "/health"]) {
    app.get(path, hidden, async () => ({
      status: "ok",
      version: services.config.version,
      time: formatTime(services.clock.now()),
    }));
  }
  for (const path of ["/readyz", "/ready"]) {
    app.get(path, hidden, async (request, reply) => {
      const { ready, checks } = await checkReadiness(services);
      const isVerbose = Object.hasOwn(Object(request.query), "verbose");
      const status = ready ? "ok" : "unavailable";
      return reply.code(ready ? 200 : 503).send(isVerbose ? { status, checks } : { status });
    });
  }
}
