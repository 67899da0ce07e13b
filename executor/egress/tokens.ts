/**
 * What workers show the proxy. A worker's token follows from its id, which no other incarnation ever has, and from a key that
 * only nodes hold: a node that starts again knows the tokens of the workers that it adopts. It is worth nothing once the worker
 * is gone, because the proxy asks for the worker first.
 */
import { createHmac, timingSafeEqual } from "node:crypto";

export const EGRESS_KEY_BYTES = 32;

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
