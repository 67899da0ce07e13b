/** The counter as a Durable Object. Loaded by workerd, not by Node: nothing can be imported here. */

interface Storage {
  get(key: string): Promise<unknown>;
  put(entries: Readonly<Record<string, unknown>>): Promise<void>;
}
interface Stub {
  fetch(request: Request): Promise<Response>;
}
interface Environment {
  readonly COUNTER: { idFromName(name: string): object; get(id: object): Stub };
}

/** @public Named in workerd's configuration. */
export class Counter {
  readonly #storage: Storage;
  #total: number | undefined;

  constructor(state: { readonly storage: Storage }) {
    this.#storage = state.storage;
  }

  /** The state is read once, as the runtime's authors advise; the output gate holds the answer until the write is stored. */
  async fetch(request: Request): Promise<Response> {
    const last = await request.text();
    this.#total ??= ((await this.#storage.get("total")) as number | undefined) ?? 0;
    this.#total += 1;
    void this.#storage.put({ total: this.#total, last });
    return new Response(String(this.#total));
  }
}

/** @public The entry of the worker: the path names the object. */
export default {
  fetch(request: Request, { COUNTER }: Environment): Promise<Response> {
    const key = request.url.slice(request.url.lastIndexOf("/") + 1);
    return COUNTER.get(COUNTER.idFromName(key)).fetch(request);
  },
};
