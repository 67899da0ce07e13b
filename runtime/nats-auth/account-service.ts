/** Accounts over the bus: nodes that hold the operator's key answer, the others ask whichever of them is there. */
import {
  ACCOUNT_VERBS,
  type AccountReply,
  type AccountVerb,
  accountRecordSchema,
  accountReplySchema,
} from "../../protocols/accounts.ts";
import { asBerthError, errorFromWire, isErrorCode } from "../../protocols/errors.ts";
import { subjects } from "../../protocols/subjects.ts";
import { pack, unpack } from "../ask-codec.ts";
import type { Buckets, Bus, Incoming, Serving } from "../transport.ts";
import type { WorkerAccounts } from "./account-keeper.ts";

const QUEUE = "accounts";
const ANSWER_MS = 10_000;

/** Serves until the servings are closed. */
export function serveAccounts(bus: Bus, accounts: WorkerAccounts): readonly Serving[] {
  const verbs: Record<AccountVerb, (data: Uint8Array) => Promise<object>> = {
    ensure: async (data) => {
      const { account } = ACCOUNT_VERBS.ensure.input.parse(unpack(data));
      return { public_key: await accounts.ensure(account) };
    },
    revoke: async (data) => {
      const { account, worker } = ACCOUNT_VERBS.revoke.input.parse(unpack(data));
      await accounts.revoke(account, worker);
      return {};
    },
  };
  return (Object.keys(verbs) as AccountVerb[]).map((verb) =>
    bus.serve(subjects.accounts(verb), QUEUE, (request) => void answer(verbs[verb], request)),
  );
}

async function answer(
  verb: (data: Uint8Array) => Promise<object>,
  request: Incoming,
): Promise<void> {
  const reply = await verb(request.data).then(
    (output) => ({ ok: true, output }),
    (thrown: unknown) => ({ ok: false, error: asBerthError(thrown).toWire() }),
  );
  request.reply(pack(reply));
}

/**
 * Rejects with `actor.moved` when no node that is there may change accounts. An account that has a record needs none of
 * them: it is known to the broker, or will be.
 */
export function remoteAccounts(bus: Bus, buckets: Pick<Buckets, "get">): WorkerAccounts {
  const ask = async (verb: AccountVerb, input: object): Promise<object> => {
    const data = await bus.request(subjects.accounts(verb), pack(input), ANSWER_MS);
    const reply: AccountReply = accountReplySchema.parse(unpack(data));
    if (reply.ok) return reply.output;
    const { code, message } = reply.error;
    throw errorFromWire({ code: isErrorCode(code) ? code : "internal.unexpected", message });
  };
  return {
    async ensure(account) {
      const entry = await buckets.get("accounts", account);
      if (entry?.value)
        return accountRecordSchema.parse(JSON.parse(new TextDecoder().decode(entry.value)))
          .public_key;
      return ACCOUNT_VERBS.ensure.output.parse(await ask("ensure", { account })).public_key;
    },
    revoke: async (account, worker) => void (await ask("revoke", { account, worker })),
  };
}
