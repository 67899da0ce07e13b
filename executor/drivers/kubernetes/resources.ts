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
const TAKEN = "AlreadyExists";
/** Several that count on one quota at once are refused with a conflict although there is room, and may try again at once. */
const TRIES = 5;

export class Resources<T> {
  readonly #api: Pick<Api, "call" | "json">;
  readonly path: string;

  constructor(api: Pick<Api, "call" | "json">, path: string) {
    this.#api = api;
    this.path = path;
  }

  /** Undefined: there is one of that name. Rejects with `capacity.exhausted` where a quota is used up. */
  async create(body: object): Promise<T | undefined> {
    try {
      return await this.#make(body, TRIES);
    } catch (thrown) {
      if (!(thrown instanceof ApiRefusal)) throw thrown;
      if (thrown.reason === TAKEN) return undefined;
      if (!isQuotaUsedUp(thrown.message)) throw thrown;
      throw new BerthError("capacity.exhausted", thrown.message, { cause: thrown });
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

  async #make(body: object, tries: number): Promise<T> {
    try {
      return await this.#api.json({ method: "POST", path: this.path, body });
    } catch (thrown) {
      const isLate =
        thrown instanceof ApiRefusal && thrown.answered === CONFLICT && thrown.reason !== TAKEN;
      if (!isLate || tries === 1) throw thrown;
      return await this.#make(body, tries - 1);
    }
  }
}

/** In the API server's words, also where another repeats them. */
export function isQuotaUsedUp(words: string): boolean {
  return words.includes("exceeded quota");
}
