/** Objects of one kind in one namespace, as the API has them: each call bounded, and safe to repeat. */
import { BerthError } from "../../../protocols/errors.ts";
import { type Api, ApiRefusal, CONFLICT, NOT_FOUND } from "./api.ts";

export interface RawList<T> {
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly T[];
}

export interface ListQuery {
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

/** What an object has to be, still, for a removal to take it. */
export interface Preconditions {
  readonly uid?: string;
  readonly resourceVersion?: string;
}

const REFUSED = [NOT_FOUND, CONFLICT];

export class Resources<T> {
  readonly #api: Api;
  readonly path: string;

  constructor(api: Api, path: string) {
    this.#api = api;
    this.path = path;
  }

  /** Undefined: there is one of that name. Rejects with `capacity.exhausted` where a quota is used up. */
  async create(body: object): Promise<T | undefined> {
    const ask = { method: "POST", path: this.path, body, expected: [CONFLICT] } as const;
    try {
      const { status, text } = await this.#api.call(ask);
      return status === CONFLICT ? undefined : (JSON.parse(text) as T);
    } catch (thrown) {
      if (thrown instanceof ApiRefusal && isQuotaUsedUp(thrown.message))
        throw new BerthError("capacity.exhausted", thrown.message, { cause: thrown });
      throw thrown;
    }
  }

  async get(name: string): Promise<T | undefined> {
    const path = `${this.path}/${name}`;
    const { status, text } = await this.#api.call({ method: "GET", path, expected: [NOT_FOUND] });
    return status === NOT_FOUND ? undefined : (JSON.parse(text) as T);
  }

  async list(query: ListQuery): Promise<RawList<T>> {
    return await this.#api.json({ method: "GET", path: this.path, query: { ...query } });
  }

  /** False: it is not there any more. Rejects with an `ApiRefusal` where it cannot be changed like that. */
  async patch(name: string, patch: object): Promise<boolean> {
    const path = `${this.path}/${name}`;
    const ask = { method: "PATCH", path, body: patch, expected: [NOT_FOUND] } as const;
    return (await this.#api.call(ask)).status !== NOT_FOUND;
  }

  /** False: it has changed since, or is another of that name, and stays. */
  async remove(
    name: string,
    options: { readonly preconditions?: Preconditions; readonly gracePeriodSeconds?: number } = {},
  ): Promise<boolean> {
    const body = { apiVersion: "v1", kind: "DeleteOptions", ...options };
    const path = `${this.path}/${name}`;
    const { status } = await this.#api.call({ method: "DELETE", path, body, expected: REFUSED });
    return status !== CONFLICT;
  }
}

/** In the API server's words, also where another repeats them. */
export function isQuotaUsedUp(words: string): boolean {
  return words.includes("exceeded quota");
}
