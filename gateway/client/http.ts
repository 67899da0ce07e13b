/** Requests to a gateway as its clients send them: a bearer key, JSON, and every refusal as a `BerthError`. */
import type { Problem } from "../../protocols/api.ts";
import { asBerthError, BerthError, isErrorCode } from "../../protocols/errors.ts";
import type { Clock } from "../../runtime/clock.ts";

export type Query = Readonly<Record<string, string | number | undefined>>;

export interface HttpRequest {
  readonly method?: "GET" | "POST" | "PUT" | "DELETE";
  readonly path: string;
  readonly query?: Query | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

/** Resolves with an answer below 400; rejects with the problem's code, or `gateway.unavailable`. */
export type Http = (request: HttpRequest) => Promise<Response>;

export function openHttp(target: {
  readonly url: string;
  readonly key: string;
  readonly fetch: typeof fetch;
}): Http {
  return async ({ method = "GET", path, query = {}, headers, body, signal }) => {
    const url = new URL(path, target.url);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const answer = await target
      .fetch(url, {
        method,
        headers: {
          accept: "application/json",
          authorization: `Bearer ${target.key}`,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(signal ? { signal } : {}),
      })
      .catch((cause: unknown) => {
        const message = `the gateway at ${target.url} does not answer`;
        throw new BerthError("gateway.unavailable", message, { cause });
      });
    if (answer.ok) return answer;
    throw problemError(await readProblem(answer));
  };
}

/** A lost connection, or an answer that broke off. Errors of ours stay what they are. */
export function unavailable(what: string, cause: unknown): BerthError {
  if (cause instanceof BerthError) return cause;
  const reason = cause instanceof Error ? `: ${cause.message}` : "";
  return new BerthError("gateway.unavailable", `${what}${reason}`, { cause });
}

export function problemError(problem: Partial<Problem>): BerthError {
  const code = isErrorCode(problem.code) ? problem.code : "internal.unexpected";
  const [first] = problem.errors ?? [];
  return new BerthError(code, problem.detail, {
    retryAfterMs: problem.retry_after_ms,
    field: first?.pointer,
  });
}

/** A proxy in front of the gateway answers in its own words, and other servers in theirs. */
async function readProblem(answer: Response): Promise<Partial<Problem>> {
  const text = await answer.text().catch(() => "");
  try {
    const problem = JSON.parse(text) as Partial<Problem>;
    if (isErrorCode(problem.code)) return problem;
  } catch {
    // Not JSON: told below.
  }
  const code = answer.status >= 500 ? "gateway.unavailable" : "request.not_found";
  const detail = `${answer.url} answered ${answer.status}: is that a Berth gateway?`;
  return { code, detail };
}

const BACKOFF = { firstMs: 100, longestMs: 5_000 } as const;

/** Full jitter, so that many clients of one lost gateway do not come back at once. */
export function backOff(
  clock: Clock,
  failures: number,
  error: BerthError | undefined,
  signal?: AbortSignal,
): Promise<void> {
  const [random = 0] = crypto.getRandomValues(new Uint32Array(1));
  const ceiling = Math.min(BACKOFF.longestMs, BACKOFF.firstMs * 2 ** failures);
  return clock.sleep((error?.retryAfterMs ?? 0) + (ceiling * random) / 2 ** 32, signal);
}

/** Repeats `send` for as long as that may help; `may` narrows what may be repeated. */
export async function persist<T>(
  clock: Clock,
  patienceMs: number,
  send: () => Promise<T>,
  may: (error: BerthError) => boolean = () => true,
): Promise<T> {
  const start = clock.monotonic();
  for (let failures = 0; ; failures += 1) {
    try {
      return await send();
    } catch (thrown) {
      const error = asBerthError(thrown);
      const waitedMs = clock.monotonic() - start + (error.retryAfterMs ?? 0);
      if (error.retry === "never" || waitedMs > patienceMs || !may(error)) throw error;
      await backOff(clock, failures, error);
    }
  }
}
