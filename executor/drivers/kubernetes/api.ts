/**
 * One request to the cluster's API, bounded in time; and the stream of a watch. Credentials and certificates are those of
 * the client library, which renews them; the rest is plain HTTP.
 */

import type { IncomingMessage } from "node:http";
import { Agent, request as send } from "node:https";
import { createInterface } from "node:readline";
import type { KubeConfig } from "@kubernetes/client-node";
import { asBerthError, BerthError } from "../../../protocols/errors.ts";
import type { Clock } from "../../../runtime/clock.ts";

export interface ApiRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly body?: object;
  /** Statuses besides those of success that the caller knows what to do with. */
  readonly expected?: readonly number[];
  /** Default: 15 s. */
  readonly withinMs?: number;
}

export interface ApiAnswer {
  readonly status: number;
  readonly text: string;
}

const WITHIN_MS = 15_000;
/** More than a list of a large namespace. */
const MAX_UNITS = 256 * 1024 * 1024;
const MAX_REASON_UNITS = 300;

/** Status of an answer whose meaning is that something is not there. */
export const FORBIDDEN = 403;
export const NOT_FOUND = 404;
export const CONFLICT = 409;
export const GONE = 410;

/** What the API said no to, as `driver.failed`; the status for who can do something about it. */
export class ApiRefusal extends BerthError {
  readonly answered: number;
  /** The API's own word for it, such as `AlreadyExists`: one status stands for several. Empty where there is none. */
  readonly reason: string;

  constructor(answered: number, message: string, reason = "") {
    super("driver.failed", message);
    this.answered = answered;
    this.reason = reason;
  }
}

export class Api {
  readonly #access: KubeConfig;
  readonly #clock: Clock;
  readonly #agent = new Agent({ keepAlive: true });

  constructor(access: KubeConfig, clock: Clock) {
    this.#access = access;
    this.#clock = clock;
  }

  /** Rejects with `driver.failed`, as an `ApiRefusal` where it was the API that refused. */
  async call(ask: ApiRequest): Promise<ApiAnswer> {
    const { withinMs = WITHIN_MS } = ask;
    const late = new AbortController();
    const cancel = this.#clock.after(withinMs, () => late.abort());
    try {
      const answer = await this.#send(ask, late.signal);
      const text = await textOf(answer);
      const status = answer.statusCode ?? 0;
      if (isSuccess(status) || ask.expected?.includes(status)) return { status, text };
      throw refusalIn(status, text, `${ask.method} ${ask.path}: `);
    } catch (thrown) {
      if (thrown instanceof BerthError) throw thrown;
      const why = late.signal.aborted
        ? `no answer within ${withinMs} ms`
        : asBerthError(thrown).message;
      throw new BerthError("driver.failed", `The cluster's API does not answer: ${why}`, {
        cause: thrown,
      });
    } finally {
      cancel();
    }
  }

  async json<T>(ask: ApiRequest): Promise<T> {
    return JSON.parse((await this.call(ask)).text) as T;
  }

  /** Calls back with each line until the stream ends. Rejects when it cannot be opened, or breaks. */
  async follow(
    ask: Pick<ApiRequest, "path" | "query">,
    on: { readonly open: () => void; readonly line: (line: string) => void },
    signal: AbortSignal,
  ): Promise<void> {
    const answer = await this.#send({ ...ask, method: "GET" }, signal);
    const status = answer.statusCode ?? 0;
    if (!isSuccess(status)) throw refusalIn(status, await textOf(answer));
    on.open();
    await new Promise<void>((resolve, reject) => {
      const take = (line: string) => {
        try {
          on.line(line);
        } catch (thrown) {
          answer.destroy();
          reject(asBerthError(thrown, "driver.failed"));
        }
      };
      answer.on("error", reject);
      createInterface(answer).on("line", take).on("close", resolve).on("error", reject);
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  async #send(ask: ApiRequest, signal: AbortSignal): Promise<IncomingMessage> {
    const url = this.#urlOf(ask);
    const body = ask.body === undefined ? undefined : JSON.stringify(ask.body);
    const options: Parameters<KubeConfig["applyToHTTPSOptions"]>[0] & { agent?: unknown } = {
      method: ask.method,
      headers: {
        accept: "application/json, */*",
        ...(body === undefined
          ? {}
          : { "content-type": contentType(ask), "content-length": Buffer.byteLength(body) }),
      },
    };
    await this.#access.applyToHTTPSOptions(options);
    // Theirs is new for each request; ours keeps its connections. One that leads through a proxy stays.
    if (options.agent?.constructor === Agent) options.agent = this.#agent;
    return await new Promise<IncomingMessage>((resolve, reject) => {
      const request = send(url, { ...(options as object), signal }, resolve);
      request.once("error", reject).end(body);
    });
  }

  #urlOf({ path, query = {} }: Pick<ApiRequest, "path" | "query">): URL {
    const url = new URL(`${this.#access.getCurrentCluster()?.server ?? ""}${path}`);
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) url.searchParams.set(name, value);
    return url;
  }
}

const isSuccess = (status: number) => status >= 200 && status < 300;
const contentType = ({ method }: ApiRequest) =>
  method === "PATCH" ? "application/merge-patch+json" : "application/json";

async function textOf(answer: IncomingMessage): Promise<string> {
  let text = "";
  answer.setEncoding("utf8");
  for await (const piece of answer) {
    text += piece;
    if (text.length > MAX_UNITS) throw new BerthError("driver.failed", "The answer is too large");
  }
  return text;
}

/** In the API's own words, where there are any. */
function refusalIn(status: number, text: string, asked = ""): ApiRefusal {
  const { message = `status ${status}`, reason } = wordsIn(text);
  return new ApiRefusal(status, asked + message.slice(0, MAX_REASON_UNITS), reason);
}

function wordsIn(text: string): { readonly message?: string; readonly reason?: string } {
  try {
    return JSON.parse(text) as { message?: string; reason?: string };
  } catch {
    return {};
  }
}
