/**
 * Serves the vault to gateways: request-reply on `berth.vault.<verb>`, one node that holds keys answers each.
 *
 * S1 A request whose time is over is dropped. It may have waited in the socket of a node that stood still, and its caller
 *    has been told that it failed: done now, it would put an old value over a newer one, or bring back what was removed.
 */

import {
  VAULT_VERBS,
  type VaultInput,
  type VaultOutput,
  type VaultReply,
  type VaultVerb,
  vaultDeadlineSchema,
} from "../../protocols/credentials.ts";
import { asBerthError, BerthError } from "../../protocols/errors.ts";
import { subjects } from "../../protocols/subjects.ts";
import { pack, unpack } from "../../runtime/ask-codec.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { Bus } from "../../runtime/transport.ts";
import type { Vault } from "./vault.ts";

const QUEUE = "vault";

type Verbs = {
  readonly [V in VaultVerb]: (input: VaultInput<V>, deadline: number) => Promise<VaultOutput<V>>;
};

export interface VaultService {
  close(): Promise<void>;
}

export async function startVaultService(options: {
  readonly vault: Vault;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Logger;
}): Promise<VaultService> {
  const { vault, bus, clock, log } = options;
  const verbs: Verbs = {
    key: () => vault.key(),
    put: (input, deadline) => vault.put(input, deadline),
    list: (input) => vault.list(input),
    remove: (input, deadline) => vault.remove(input, deadline),
    status: () => vault.status(),
    rotate: (input) => vault.rotate(input),
  };
  const answer = async (verb: VaultVerb, data: Uint8Array): Promise<VaultReply | undefined> => {
    try {
      const { input, deadline } = read(verb, data);
      if (clock.now() >= deadline) {
        log.debug({ verb, lateMs: clock.now() - deadline }, "a request to the vault came too late");
        return undefined; // S1
      }
      return { ok: true, output: await verbs[verb](input as never, deadline) };
    } catch (thrown) {
      const error = asBerthError(thrown);
      log.debug({ verb, code: error.code }, "a request to the vault failed");
      return { ok: false, error: error.toWire() };
    }
  };
  const servings = (Object.keys(VAULT_VERBS) as VaultVerb[]).map((verb) =>
    bus.serve(subjects.vault(verb), QUEUE, (request) => {
      void answer(verb, request.data).then((reply) => reply && request.reply(pack(reply)));
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
function read<V extends VaultVerb>(
  verb: V,
  data: Uint8Array,
): { readonly input: VaultInput<V>; readonly deadline: number } {
  const request = unpack(data);
  const input = VAULT_VERBS[verb].input.safeParse(request);
  const time = vaultDeadlineSchema.safeParse(request);
  if (input.success && time.success)
    return {
      input: input.data as VaultInput<V>,
      deadline: time.data.deadline ?? Number.POSITIVE_INFINITY,
    };
  throw new BerthError("request.malformed", `the input of ${verb} is not valid`);
}
