/**
 * Tells the broker of workers' accounts as their records say. Any number of nodes may do so. Invariants:
 * P1 who has told the broker reads the record again, and tells once more if it has changed meanwhile: whoever tells last
 *    has told the newest, whatever the order in which the broker heard of it.
 * P2 a token is dated later than any before it, be it by a second that has not come yet: servers that compare what they have
 *    take the later one, and of two of one second the other's, so that one that was away would bring back what was taken.
 * P3 which issuers an account accepts is on record: two nodes whose files differ tell the same.
 * P4 an account that is removed is told as one that lets nobody in, and forgotten only when no credential of it can count:
 *    a server that was away brings back to all what they have forgotten, but not what they have a later token of (P2).
 */
import type { AccountRecord } from "../../protocols/accounts.ts";
import type { Clock } from "../clock.ts";
import type { AccountRecords, Held } from "./account-records.ts";
import { type Claims, readClaims, signClaims } from "./jwt.ts";
import type { Nkey } from "./nkey.ts";
import { removedAccountClaims, workerAccountClaims } from "./worker-account.ts";

/** The broker, as far as accounts are concerned. Rejects with `broker.unavailable`. */
export interface ClaimsServer {
  push(token: string): Promise<void>;
  /** `token` names the accounts that are to go. */
  remove(token: string): Promise<void>;
  /** The account's token as the broker has it. */
  lookup(account: string): Promise<string | undefined>;
  /** Public keys of all accounts that the answering server has. */
  list(): Promise<readonly string[]>;
}

export interface PublisherOptions {
  readonly server: ClaimsServer;
  readonly clock: Clock;
  /** Public key of the platform's account. */
  readonly platform: string;
  /** Asked each time: keys are replaced while we run. */
  readonly signer: () => Nkey;
  /** Those of this node's files: accepted if none are on record yet (P3). */
  readonly issuers: () => readonly string[];
}

/** What there is to tell of an account. */
interface Word {
  readonly publicKey: string;
  readonly claims: Claims;
  /** Another one after each change of what it is made of. */
  readonly stamp: string;
}

/** A stamp of what is told again when there is anything to tell. */
const OLDER = "";
const SECOND_MS = 1_000;

export class AccountPublisher {
  readonly #records: AccountRecords;
  readonly #options: PublisherOptions;
  /** What we have told the broker, or found there: stamps, by public key. */
  readonly #told = new Map<string, string>();
  /** The second of our last token, by public key. */
  readonly #dates = new Map<string, number>();

  constructor(records: AccountRecords, options: PublisherOptions) {
    this.#records = records;
    this.#options = options;
  }

  /** An older form is enough to begin with, and all that there is if the newest cannot be told. */
  async introduce({ name, public_key }: AccountRecord): Promise<void> {
    if (this.#told.has(public_key)) return;
    const known = await this.#options.server.lookup(public_key);
    if (known === undefined) await this.publish(name);
    else this.#told.set(public_key, OLDER);
  }

  /** P1. `isLookedAt`: what the broker has counts, not what we have told it once. */
  async publish(name: string, { isLookedAt = false } = {}): Promise<void> {
    let word = await this.#word(name);
    while (word) {
      const told = word;
      if (!isLookedAt && this.#told.get(told.publicKey) === told.stamp) return;
      const isNews = await this.#push(told);
      this.#told.set(told.publicKey, told.stamp);
      if (!isNews) return;
      word = await this.#word(name);
      if (word?.stamp === told.stamp) return;
      if (word?.publicKey !== told.publicKey) await this.retract(name, told.publicKey);
    }
  }

  /** P4. */
  async retract(name: string, publicKey: string): Promise<void> {
    this.#told.delete(publicKey);
    const known = await this.#options.server.lookup(publicKey);
    await this.#tell(removedAccountClaims(name, publicKey), known);
    this.#dates.delete(publicKey);
  }

  async forget(publicKey: string): Promise<void> {
    const { server, signer } = this.#options;
    const nats = { accounts: [publicKey], type: "generic", version: 2 };
    const key = signer();
    const claims = { sub: key.publicKey, name: "removal", nats };
    await server.remove(signClaims(claims, key, this.#now()));
  }

  /** Whether the broker had to be told. */
  async #push({ claims, publicKey }: Word): Promise<boolean> {
    const { server, signer } = this.#options;
    const known = await server.lookup(publicKey);
    if (known !== undefined && isCurrent(known, claims, signer())) return false;
    await this.#tell(claims, known);
    return true;
  }

  /** P2. `known` is the token that the broker has. */
  async #tell(claims: Claims, known: string | undefined): Promise<void> {
    const { server, signer } = this.#options;
    const lastDate = Math.max(
      known === undefined ? 0 : readClaims(known).iat,
      this.#dates.get(claims.sub) ?? 0,
    );
    const date = Math.max(this.#now(), lastDate + 1);
    this.#dates.set(claims.sub, date);
    await server.push(signClaims(claims, signer(), date));
  }

  async #word(name: string): Promise<Word | undefined> {
    const { issuers, platform } = this.#options;
    const held = await this.#records.read(name);
    if (!held) return undefined;
    const accepted = await this.#records.issuers(issuers);
    const account = accountOf(held);
    return {
      publicKey: account.publicKey,
      claims: workerAccountClaims(account, { platform, issuers: accepted.record }),
      stamp: `${account.publicKey}:${held.revision}:${accepted.revision}`,
    };
  }

  #now(): number {
    return Math.floor(this.#options.clock.now() / SECOND_MS);
  }
}

const accountOf = ({ record, revision }: Held<AccountRecord>) => ({
  name: record.name,
  publicKey: record.public_key,
  isSuspended: record.suspended,
  revocations: record.revocations,
  revision,
});

/** Whether the broker's token says what ours would, by a key that still counts. */
function isCurrent(token: string, claims: Claims, signer: Nkey): boolean {
  const known = readClaims(token);
  return (
    known.iss === signer.publicKey && JSON.stringify(known.nats) === JSON.stringify(claims.nats)
  );
}
