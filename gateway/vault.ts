/** The vault as a gateway reaches it: it seals what a user gives, asks for facts, and can open nothing. */
import {
  type CredentialFacts,
  letterBinding,
  VAULT_VERBS,
  type VaultInput,
  type VaultOutput,
  type VaultVerb,
  vaultReplySchema,
} from "../protocols/credentials.ts";
import { asBerthError, BerthError, errorFromWire, isErrorCode } from "../protocols/errors.ts";
import { subjects } from "../protocols/subjects.ts";
import { pack, unpack } from "../runtime/ask-codec.ts";
import { sealLetter } from "../runtime/sealing/letter.ts";
import type { Bus } from "../runtime/transport.ts";

export interface Owner {
  readonly tenant: string;
  readonly user: string;
}

/** A rotation's step writes many records. */
const ROTATE_MS = 30_000;
/** While keys are changed, one node may name a key that the next has not read yet. */
const TRIES = 3;

export class VaultClient {
  readonly #bus: Bus;
  readonly #timeoutMs: number;

  constructor(bus: Bus, timeoutMs: number) {
    this.#bus = bus;
    this.#timeoutMs = timeoutMs;
  }

  /** Rejects with `vault.unavailable`, `credential.too_many`. */
  async put(owner: Owner, provider: string, value: string): Promise<VaultOutput<"put">> {
    for (let tries = 1; ; tries += 1) {
      const { kek, public_key } = await this.#ask("key", {});
      const { tenant, user } = owner;
      const place = { tenant, user, provider, kek };
      const content = Buffer.from(value, "utf8");
      const letter = sealLetter(public_key, content, letterBinding(place));
      content.fill(0);
      if (letter === undefined) throw new BerthError("vault.unavailable");
      try {
        return await this.#ask("put", { ...place, letter });
      } catch (thrown) {
        const { code } = asBerthError(thrown);
        if (code !== "credential.unreadable") throw thrown;
        if (tries >= TRIES) throw new BerthError("vault.unavailable", undefined, { cause: thrown });
      }
    }
  }

  async list({ tenant, user }: Owner): Promise<readonly CredentialFacts[]> {
    return (await this.#ask("list", { tenant, user })).credentials;
  }

  /** Rejects with `credential.not_found`. */
  async remove({ tenant, user }: Owner, provider: string): Promise<void> {
    await this.#ask("remove", { tenant, user, provider });
  }

  status(): Promise<VaultOutput<"status">> {
    return this.#ask("status", {});
  }

  rotate(after: string | null): Promise<VaultOutput<"rotate">> {
    return this.#ask("rotate", { after });
  }

  async #ask<V extends VaultVerb>(verb: V, input: VaultInput<V>): Promise<VaultOutput<V>> {
    const timeoutMs = verb === "rotate" ? ROTATE_MS : this.#timeoutMs;
    const answer = await this.#bus
      .request(subjects.vault(verb), pack(input), timeoutMs)
      .catch((thrown: unknown) => {
        throw unavailable(asBerthError(thrown));
      });
    const reply = vaultReplySchema.parse(unpack(answer));
    if (reply.ok) return VAULT_VERBS[verb].output.parse(reply.output) as VaultOutput<V>;
    const { code, message, field } = reply.error;
    const known = isErrorCode(code) ? code : "internal.unexpected";
    throw errorFromWire({ code: known, message, ...(field === undefined ? {} : { field }) });
  }
}

/** Nobody serves it, or nobody in time. */
function unavailable(error: BerthError): BerthError {
  const isAbsent = error.code === "actor.moved" || error.code === "ask.timeout";
  return isAbsent ? new BerthError("vault.unavailable", undefined, { cause: error }) : error;
}
