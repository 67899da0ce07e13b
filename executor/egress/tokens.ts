/**
 * What workers and jobs show the proxy. A worker's token follows from its id, which no other incarnation ever has, and from a key that
 * only nodes hold: a node that starts again knows the tokens of the workers that it adopts. It is worth nothing once the worker
 * is gone, because the proxy asks for the worker first. A placeholder of a job says itself what it stands for, so that any
 * node can make it and only the worker's own takes it.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { type Placeholder, placeholderSchema } from "../../protocols/placeholder.ts";

export const EGRESS_KEY_BYTES = 32;
/** Whoever finds one in a log sees that it is no key. */
const PLACEHOLDER = "berth-placeholder-";
const SHAPE = /^berth-placeholder-([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})$/;

export class EgressTokens {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  ofWorker(worker: string): string {
    return this.#mac(`worker/${worker}`).toString("base64url");
  }

  /** Takes as long for a wrong one as for the right one. */
  isOfWorker(worker: string, token: string): boolean {
    return timingSafeEqual(this.#mac(token), this.#mac(this.ofWorker(worker)));
  }

  placeholder(content: Placeholder): string {
    const text = Buffer.from(JSON.stringify(content)).toString("base64url");
    return `${PLACEHOLDER}${text}.${this.#mac(`placeholder/${text}`).toString("base64url")}`;
  }

  /** Undefined for what no node has made, or was changed. */
  tryReadPlaceholder(placeholder: string): Placeholder | undefined {
    const [, text = "", mac = ""] = SHAPE.exec(placeholder) ?? [];
    const expected = this.#mac(`placeholder/${text}`).toString("base64url");
    if (!timingSafeEqual(this.#mac(mac), this.#mac(expected))) return undefined;
    const content: unknown = JSON.parse(Buffer.from(text, "base64url").toString("utf8"));
    // A node of another build may mean something else by it.
    return placeholderSchema.safeParse(content).data;
  }

  #mac(text: string): Buffer {
    return createHmac("sha256", this.#key).update(text).digest();
  }
}

export interface ProxyCredential {
  readonly worker: string;
  readonly token: string;
}

/** From `Proxy-Authorization`, as programs make it of a proxy's URL. */
export function tryParseCredential(header: string | undefined): ProxyCredential | undefined {
  const encoded = /^basic +([A-Za-z0-9+/_-]+=*)$/i.exec(header ?? "")?.[1];
  if (encoded === undefined) return undefined;
  const [, worker, token] =
    /^([^:]+):(.+)$/.exec(Buffer.from(encoded, "base64").toString("utf8")) ?? [];
  return worker === undefined || token === undefined ? undefined : { worker, token };
}
