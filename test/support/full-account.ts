/** An account of workers whose list of revocations is as long as a test wants it. */
import { type AccountRecord, accountRecordSchema } from "../../protocols/accounts.ts";
import { systemClock } from "../../runtime/clock.ts";
import type { NatsTransport } from "../../runtime/nats/transport.ts";
import type { AccountKeeper } from "../../runtime/nats-auth/account-keeper.ts";

export interface AccountHolder {
  readonly keeper: Pick<AccountKeeper, "ensure">;
  readonly transport: Pick<NatsTransport, "buckets">;
}

/** Writes so many entries into the record, and tells the broker nothing of it. They end `forSeconds` from now. */
export async function fillRevocations(
  { keeper, transport: { buckets } }: AccountHolder,
  account: string,
  { count, forSeconds = 600 }: { readonly count: number; readonly forSeconds?: number },
): Promise<AccountRecord> {
  await keeper.ensure(account);
  const entry = await buckets.get("accounts", account);
  const record = accountRecordSchema.parse(JSON.parse(new TextDecoder().decode(entry?.value)));
  const until = Math.floor(systemClock.now() / 1_000) + forSeconds;
  const users = Array.from({ length: count }, (_, n) => [userName(n), until]);
  const filled = { ...record, revocations: Object.fromEntries(users) };
  await buckets.put("accounts", account, new TextEncoder().encode(JSON.stringify(filled)));
  return filled;
}

const LETTERS = 55;

/** As long as a user's public key: the making of so many takes half a minute. */
const userName = (n: number) =>
  `U${String(n)
    .padStart(LETTERS, "0")
    .replaceAll(/\d/g, (digit) => "ABCDEFGHIJ"[Number(digit)] ?? "")}`;
