/**
 * The vault as a gateway reaches it: it seals what a user gives, asks for facts, and can open nothing. Invariants:
 * G1 each request names its deadline, and no work on it begins afterwards: who was told `vault.unavailable` may ask anew,
 *    and what it asked before overtakes nothing.
 * G2 what only reads is sent again after a silence: one node of those that serve the vault may stand still.
 * G3 what writes is sent once. Of two sendings one may wait in a node that stands still and be handled when it wakes, in
 *    its time and yet after the other was answered: a put would then replace the value that its caller stored next.
 *    A remove would besides take the other's work for `credential.not_found`. A rotation's step takes seconds, and a
 *    second one beside it would only compete with it: who rotates asks again from where it was.
 */
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
import type { Clock } from "../runtime/clock.ts";
import { ResendBudget } from "../runtime/resend-budget.ts";
import { sealLetter } from "../runtime/sealing/letter.ts";
import type { Again, Bus } from "../runtime/transport.ts";

export interface Owner {
  readonly tenant: string;
  readonly user: string;
}

/** A rotation's step writes many records. */
const ROTATE_MS = 30_000;
/** G2. As actors' asks are. */
const AGAIN_MS = 500;
const READS: ReadonlySet<VaultVerb> = new Set(["key", "list", "status"]);
/** While keys are changed, one node may name a key that the next has not read yet. */
const TRIES = 3;

export interface VaultClientOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly timeoutMs: number;
}

export class VaultClient {
  readonly #options: VaultClientOptions;
  readonly #budget: ResendBudget;

  constructor(options: VaultClientOptions) {
    this.#options = options;
    this.#budget = new ResendBudget(options.clock);
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
    const { bus, clock } = this.#options;
    const timeoutMs = verb === "rotate" ? ROTATE_MS : this.#options.timeoutMs;
    const data = pack({ ...input, deadline: clock.now() + timeoutMs }); // G1
    const again = READS.has(verb) ? this.#again(data) : undefined; // G2, G3
    const answer = await bus
      .request(subjects.vault(verb), data, timeoutMs, undefined, again)
      .catch((thrown: unknown) => {
        throw unavailable(asBerthError(thrown));
      });
    this.#budget.answered();
    const reply = vaultReplySchema.parse(unpack(answer));
    if (reply.ok) return VAULT_VERBS[verb].output.parse(reply.output) as VaultOutput<V>;
    const { code, message, field } = reply.error;
    const known = isErrorCode(code) ? code : "internal.unexpected";
    throw errorFromWire({ code: known, message, ...(field === undefined ? {} : { field }) });
  }

  #again(data: Uint8Array): Again {
    return { everyMs: AGAIN_MS, data: () => (this.#budget.take() ? data : undefined) };
  }
}

/** Nobody serves it, or nobody in time. */
function unavailable(error: BerthError): BerthError {
  const isAbsent = error.code === "actor.moved" || error.code === "ask.timeout";
  return isAbsent ? new BerthError("vault.unavailable", undefined, { cause: error }) : error;
}
