/** The command line's way to a gateway: typed reads and writes, and events that resume by cursor. */
import type { z } from "zod";
import { type FollowOptions, followEvents } from "../../gateway/client/follow.ts";
import { type HttpRequest, openHttp, persist, type Query } from "../../gateway/client/http.ts";
import { pageOf } from "../../protocols/api.ts";
import { BerthError } from "../../protocols/errors.ts";
import type { SessionEvent } from "../../protocols/events.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Target } from "./target.ts";

export interface Gateway {
  readonly url: string;
  get<T extends z.ZodType>(path: string, schema: T, query?: Query): Promise<z.output<T>>;
  /** Items of a list over its pages, at most `most`. */
  list<T extends z.ZodType>(
    path: string,
    item: T,
    query: Query,
    most: number,
  ): Promise<z.output<T>[]>;
  send<T extends z.ZodType>(request: SendRequest<T>): Promise<z.output<T>>;
  /** Events for as long as the caller reads them. */
  events(path: string, options: FollowOptions): AsyncGenerator<SessionEvent, void>;
}

export interface SendRequest<T extends z.ZodType> {
  readonly method: "POST" | "PUT" | "DELETE";
  readonly path: string;
  readonly schema: T;
  readonly query?: Query;
  readonly body?: unknown;
  /** Repeated with the same key when the answer was lost, so that it happens once. */
  readonly idempotencyKey?: string;
}

interface GatewayDeps {
  readonly clock: Clock;
  readonly fetch: typeof fetch;
}

const REQUEST_MS = 30_000;
const PAGE = 200;
/** How long a lost gateway is waited for, by a command and by one that follows a stream. */
const PATIENCE_MS = 10_000;
const STREAM_PATIENCE_MS = 120_000;

export function openGateway(target: Target, deps: GatewayDeps): Gateway {
  const { clock } = deps;
  const http = openHttp({ ...target, fetch: deps.fetch });

  const json = async <T extends z.ZodType>(schema: T, request: Omit<HttpRequest, "signal">) => {
    const response = await http({ ...request, signal: AbortSignal.timeout(REQUEST_MS) });
    const body: unknown =
      response.status === 204 ? {} : await response.json().catch(() => undefined);
    const parsed = schema.safeParse(body);
    if (parsed.success) return parsed.data;
    throw new BerthError(
      "internal.unexpected",
      `${target.url} did not answer ${request.path} as a Berth gateway of this version does`,
    );
  };

  const gateway: Gateway = {
    url: target.url,
    get: (path, schema, query) => json(schema, { path, query }),
    async list(path, item, query, most) {
      const items = [];
      let after: string | undefined;
      do {
        const limit = Math.min(PAGE, most - items.length);
        const page = await gateway.get(path, pageOf(item), { ...query, limit, after });
        items.push(...page.data);
        after = page.next ?? undefined;
      } while (after !== undefined && items.length < most);
      return items;
    },
    async send({ schema, idempotencyKey, ...request }) {
      if (idempotencyKey === undefined) return json(schema, request);
      const headers = { "Idempotency-Key": idempotencyKey };
      return persist(clock, PATIENCE_MS, () => json(schema, { ...request, headers }), isTransient);
    },
    events: (path, options) =>
      followEvents({ http, clock, path, patienceMs: STREAM_PATIENCE_MS }, options),
  };
  return gateway;
}

/** Used up quotas do not come back in a moment. */
function isTransient(error: BerthError): boolean {
  return error.status !== 429;
}
