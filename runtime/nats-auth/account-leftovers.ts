/**
 * Accounts that the broker has and no record names: of a keeper that died before it told of a removal, or brought back by
 * a server that was away for longer than a removal is told. Invariants:
 * L1 a record is read after its account was seen at the broker, where it is told later than written: who finds none there
 *    has not overtaken one that is being made.
 */
import type { Clock } from "../clock.ts";
import type { Logger } from "../logger.ts";
import type { AccountPublisher, ClaimsServer } from "./account-publisher.ts";
import type { AccountRecords } from "./account-records.ts";
import { SKEW_SECONDS } from "./account-revocations.ts";
import { accountRound } from "./account-round.ts";
import { decideLeftover } from "./decide-leftover.ts";
import { readClaims } from "./jwt.ts";

export interface LeftoverOptions {
  readonly server: Pick<ClaimsServer, "list" | "lookup">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Of a credential. */
  readonly ttlMs: number;
}

interface Collaborators {
  readonly records: Pick<AccountRecords, "read">;
  readonly publisher: Pick<AccountPublisher, "retract" | "forget">;
}

const SECOND_MS = 1_000;

/** `named` are public keys that need no look. Rejects with what failed for one of the others when all have had their turn. */
export async function sweepLeftovers(
  named: ReadonlySet<string>,
  { publisher, records }: Collaborators,
  { clock, logger, server, ttlMs }: LeftoverOptions,
): Promise<void> {
  const countsFor = Math.ceil(ttlMs / SECOND_MS) + SKEW_SECONDS;
  const look = async (publicKey: string) => {
    const token = await server.lookup(publicKey);
    if (token === undefined) return;
    const claims = readClaims(token);
    const now = Math.floor(clock.now() / SECOND_MS);
    const step = decideLeftover(claims, { countsFor, now });
    if (step === "none") return;
    const held = await records.read(claims.name); // L1
    if (held?.record.public_key === publicKey) return;
    if (step === "forget") return await publisher.forget(publicKey);
    await publisher.retract(claims.name, publicKey);
    logger.warn({ account: claims.name }, "an account of workers was there without a record");
  };
  const unnamed = (await server.list()).filter((key) => !named.has(key));
  const failed = "an account without a record is still there";
  const failure = await accountRound(unnamed, look, { logger, failed });
  if (failure) throw failure;
}
