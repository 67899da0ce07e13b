/**
 * Credentials as they are stored: envelope encryption. Invariants:
 * E1 a value is sealed with a data key of its own, new for each value; the vault's key wraps that, and nothing else.
 * E2 both are bound to tenant, user, provider and version: a record that is copied to another place does not open there.
 */
import { randomBytes } from "node:crypto";
import type { CredentialRecord } from "../../protocols/credentials.ts";
import { type Binding, KEY_BYTES, openBox, sealBox } from "../../runtime/sealing/box.ts";
import type { KeyEncryptionKey } from "./key-encryption-key.ts";

export interface CredentialPlace {
  readonly tenant: string;
  readonly user: string;
  readonly provider: string;
}

export type Sealed = Pick<CredentialRecord, "kek" | "wrapped" | "sealed" | "version">;

export function sealValue(
  kek: KeyEncryptionKey,
  place: CredentialPlace,
  version: number,
  value: Uint8Array,
): Sealed {
  const dataKey = randomBytes(KEY_BYTES);
  const sealed = sealBox(dataKey, value, valueBinding(place, version)).toString("base64");
  const wrapped = wrap(kek, place, version, dataKey);
  dataKey.fill(0);
  return { kek: kek.id, version, wrapped, sealed };
}

/** Undefined when it does not open. */
export function openValue(
  kek: KeyEncryptionKey,
  place: CredentialPlace,
  record: Sealed,
): Buffer | undefined {
  const dataKey = unwrap(kek, place, record);
  if (dataKey === undefined) return undefined;
  const box = Buffer.from(record.sealed, "base64");
  const value = openBox(dataKey, box, valueBinding(place, record.version));
  dataKey.fill(0);
  return value;
}

/** The same value under another key of the vault; it is not opened for that. Undefined when the data key does not open. */
export function rewrap(
  from: KeyEncryptionKey,
  to: KeyEncryptionKey,
  place: CredentialPlace,
  record: Sealed,
): Sealed | undefined {
  const dataKey = unwrap(from, place, record);
  if (dataKey === undefined) return undefined;
  const wrapped = wrap(to, place, record.version, dataKey);
  dataKey.fill(0);
  return { kek: to.id, wrapped, sealed: record.sealed, version: record.version };
}

function wrap(
  kek: KeyEncryptionKey,
  place: CredentialPlace,
  version: number,
  dataKey: Uint8Array,
): string {
  return sealBox(kek.wrapping, dataKey, keyBinding(kek.id, place, version)).toString("base64");
}

function unwrap(
  kek: KeyEncryptionKey,
  place: CredentialPlace,
  { wrapped, version }: Sealed,
): Buffer | undefined {
  const box = Buffer.from(wrapped, "base64");
  return openBox(kek.wrapping, box, keyBinding(kek.id, place, version));
}

const valueBinding = ({ tenant, user, provider }: CredentialPlace, version: number): Binding => [
  "berth.credential",
  tenant,
  user,
  provider,
  version,
];

const keyBinding = (
  kek: string,
  { tenant, user, provider }: CredentialPlace,
  version: number,
): Binding => ["berth.data-key", kek, tenant, user, provider, version];
