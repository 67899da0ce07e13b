import { problemSchema } from "../../protocols/api.ts";
import { BerthError } from "../../protocols/errors.ts";
import type { Target } from "./target.ts";

export type Query = Readonly<Record<string, string | number | undefined>>;

export interface HttpRequest {
  readonly method?: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly query?: Query | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly signal: AbortSignal;
}

/** Resolves with an answer below 400; every other is a `BerthError`. */
export type Http = (request: HttpRequest) => Promise<Response>;

export function openHttp(target: Target, send: typeof fetch): Http {
  return async ({ method = "GET", path, query = {}, headers = {}, body, signal }) => {
    const url = new URL(target.url + path);
    for (const [key, value] of Object.entries(query)) {
      if (value !== undefined) url.searchParams.set(key, String(value));
    }
    const typed: Record<string, string> =
      body === undefined ? {} : { "Content-Type": "application/json" };
    const response = await send(url, {
      method,
      headers: { Authorization: `Bearer ${target.key}`, ...typed, ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal,
    }).catch((cause: unknown) => {
      throw new BerthError("broker.unavailable", `the gateway at ${target.url} does not answer`, {
        cause,
      });
    });
    if (response.ok) return response;
    throw await problemOf(response);
  };
}

async function problemOf(response: Response): Promise<BerthError> {
  const parsed = problemSchema.safeParse(await response.json().catch(() => undefined));
  if (!parsed.success) {
    const code = response.status >= 500 ? "broker.unavailable" : "request.not_found";
    return new BerthError(
      code,
      `${response.url} answered ${response.status}: is that a Berth gateway?`,
    );
  }
  const { code, detail, retry_after_ms: retryAfterMs, errors } = parsed.data;
  const fields = errors?.map((error) => `${error.pointer} ${error.message}`).join("; ");
  const message = fields === undefined || fields === "" ? detail : `${detail} (${fields})`;
  return new BerthError(code, message, { retryAfterMs });
}

/** Whether the same request may succeed in a moment. Used up quotas do not come back so soon. */
export function isTransient(error: unknown): error is BerthError {
  return error instanceof BerthError && error.retry !== "never" && error.status !== 429;
}
