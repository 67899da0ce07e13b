/** Serves the vault to gateways: request-reply on `berth.vault.<verb>`, one node that holds keys answers each. */

import {
  VAULT_VERBS,
  type VaultInput,
  type VaultOutput,
  type VaultReply,
  type VaultVerb,
} from "../../protocols/credentials.ts";
import { asBerthError, BerthError } from "../../protocols/errors.ts";
import { subjects } from "../../protocols/subjects.ts";
import { pack, unpack } from "../../runtime/ask-codec.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { Bus } from "../../runtime/transport.ts";
import type { Vault } from "./vault.ts";

const QUEUE = "vault";

type Verbs = { readonly [V in VaultVerb]: (input: VaultInput<V>) => Promise<VaultOutput<V>> };

export interface VaultService {
  close(): Promise<void>;
}

export async function startVaultService(options: {
  readonly vault: Vault;
  readonly bus: Bus;
  readonly log: Logger;
}): Promise<VaultService> {
  const { vault, bus, log } = options;
  const verbs: Verbs = {
    key: () => vault.key(),
    put: (input) => vault.put(input),
    list: (input) => vault.list(input),
    remove: (input) => vault.remove(input),
    status: () => vault.status(),
    rotate: (input) => vault.rotate(input),
  };
  const answer = async (verb: VaultVerb, data: Uint8Array): Promise<VaultReply> => {
    try {
      return { ok: true, output: await verbs[verb](read(verb, data) as never) };
    } catch (thrown) {
      const error = asBerthError(thrown);
      log.debug({ verb, code: error.code }, "a request to the vault failed");
      return { ok: false, error: error.toWire() };
    }
  };
  const servings = (Object.keys(VAULT_VERBS) as VaultVerb[]).map((verb) =>
    bus.serve(subjects.vault(verb), QUEUE, (request) => {
      void answer(verb, request.data).then((reply) => request.reply(pack(reply)));
    }),
  );
  await Promise.all(servings.map(({ ready }) => ready));
  return {
    async close() {
      await Promise.all(servings.map((serving) => serving.close()));
    },
  };
}

/** Throws `request.malformed`, without a word of what was sent. */
function read<V extends VaultVerb>(verb: V, data: Uint8Array): VaultInput<V> {
  const parsed = VAULT_VERBS[verb].input.safeParse(unpack(data));
  if (parsed.success) return parsed.data as VaultInput<V>;
  throw new BerthError("request.malformed", `the input of ${verb} is not valid`);
}
