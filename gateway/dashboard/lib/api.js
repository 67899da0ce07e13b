/** REST with a bearer key. Failures are `ApiError`s made from problem+json. */

const TIMEOUT_MS = 15_000;
const SUBMIT_TRIES = 4;

export class ApiError extends Error {
  constructor({ status, code, detail, retryable = false, retryAfterMs }) {
    super(detail);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.retryable = retryable;
    this.retryAfterMs = retryAfterMs;
  }
}

export class Api {
  #key;

  constructor(key) {
    this.#key = key;
  }

  get(path, query = {}) {
    return this.#call("GET", withQuery(path, query));
  }

  post(path, body, query = {}) {
    return this.#call("POST", withQuery(path, query), body);
  }

  /** Every item of a list, page by page, up to `most`. */
  async list(path, query = {}, most = 200) {
    const items = [];
    let after;
    do {
      const page = await this.get(path, {
        ...query,
        limit: Math.min(200, most - items.length),
        after,
      });
      items.push(...page.data);
      after = page.next ?? undefined;
    } while (after !== undefined && items.length < most);
    return items;
  }

  /** Submits a job. Safe to repeat: the idempotency key makes the gateway answer a second try with the first's job. */
  async submit(job) {
    const idempotencyKey = crypto.randomUUID();
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#call("POST", "/v1/jobs", job, { "Idempotency-Key": idempotencyKey });
      } catch (error) {
        const transient =
          error.status === 0 || error.status === 503 || error.code === "idempotency.in_flight";
        if (!transient || attempt === SUBMIT_TRIES) throw error;
        await new Promise((resolve) =>
          setTimeout(resolve, error.retryAfterMs ?? 300 * 2 ** attempt),
        );
      }
    }
  }

  async #call(method, path, body, headers = {}) {
    let response;
    try {
      response = await fetch(path, {
        method,
        headers: {
          Accept: "application/json",
          Authorization: `Bearer ${this.#key}`,
          ...(body === undefined ? {} : { "Content-Type": "application/json" }),
          ...headers,
        },
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
    } catch {
      throw new ApiError({
        status: 0,
        code: "unreachable",
        detail: "The gateway does not answer.",
        retryable: true,
      });
    }
    const content = await response.json().catch(() => undefined);
    if (response.ok) return content;
    throw new ApiError({
      status: response.status,
      code: content?.code ?? `http.${response.status}`,
      detail: content?.detail ?? response.statusText,
      retryable: content?.retryable,
      retryAfterMs: content?.retry_after_ms,
    });
  }
}

function withQuery(path, query) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  return given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`;
}
