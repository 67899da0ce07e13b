/** A vault over the memory broker whose keys a test changes as an operator would. */
import { randomBytes } from "node:crypto";
import { type KeyEncryptionKey, parseKeys } from "../../actors/vault/key-encryption-key.ts";
import { Keyring, type KeySource } from "../../actors/vault/keyring.ts";
import { Vault } from "../../actors/vault/vault.ts";
import type { Act } from "../../protocols/audit.ts";
import { letterBinding } from "../../protocols/credentials.ts";
import type { Audit } from "../../runtime/audit.ts";
import { type Clock, systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { MemoryBroker } from "../../runtime/memory/broker.ts";
import { connectMemory } from "../../runtime/memory/transport.ts";
import { noMetrics } from "../../runtime/metrics.ts";
import { sealLetter } from "../../runtime/sealing/letter.ts";
import type { Buckets } from "../../runtime/transport.ts";

export const keyLine = (id: string): string => `${id}:${randomBytes(32).toString("base64")}`;

/** As a key file that is read at each look. */
export class KeyFile implements KeySource {
  text: string;
  reads = 0;
  readonly staleAfterMs = 0;

  constructor(...lines: string[]) {
    this.text = lines.join("\n");
  }

  read(): Promise<readonly KeyEncryptionKey[]> {
    this.reads += 1;
    return Promise.resolve().then(() => parseKeys(this.text, "the key file"));
  }
}

export interface VaultRig {
  readonly vault: Vault;
  readonly buckets: Buckets;
  readonly acts: Act[];
  readonly put: (provider: string, value: string, user?: string) => Promise<void>;
  readonly open: (provider: string, user?: string) => Promise<string | undefined>;
}

export async function vaultRig(
  file: KeySource,
  options: { readonly buckets?: Buckets; readonly clock?: Clock; readonly audit?: Audit } = {},
): Promise<VaultRig> {
  const clock = options.clock ?? systemClock;
  const buckets = options.buckets ?? connectMemory(new MemoryBroker({ clock })).buckets;
  const keyring = await Keyring.open(file, clock, silentLogger);
  const acts: Act[] = [];
  const kept: Audit = { record: (act: Act) => Promise.resolve(void acts.push(act)) };
  const vault = new Vault({
    buckets,
    keyring,
    clock,
    log: silentLogger,
    metrics: noMetrics,
    audit: options.audit ?? kept,
  });
  return {
    ...{ vault, buckets, acts },
    put: async (provider, value, user = "ann") => {
      await vault.put(await sealedPut(vault, { tenant: "acme", user, provider }, value));
    },
    open: (provider, user = "ann") =>
      vault.open({ tenant: "acme", user, provider, purpose: "job_1" }),
  };
}

/** What a gateway sends. */
export async function sealedPut(
  vault: Pick<Vault, "key">,
  place: { readonly tenant: string; readonly user: string; readonly provider: string },
  value: string,
) {
  const { kek, public_key } = await vault.key();
  const binding = letterBinding({ ...place, kek });
  const letter = sealLetter(public_key, Buffer.from(value), binding) ?? "";
  return { ...place, kek, letter };
}
