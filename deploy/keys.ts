/** API keys that are made beside the API: those of development, and a deployment's first. */
import { randomBytes } from "node:crypto";
import { ulid } from "ulid";
import { hashKey } from "../gateway/auth/access.ts";
import type { ApiKeyRecord } from "../protocols/records.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Transport } from "../runtime/transport.ts";

const KEY_BYTES = 24;

export function newKey(): string {
  return `berth_${randomBytes(KEY_BYTES).toString("base64url")}`;
}

/** Stores the key's hash with what the key is for; a key that is known already stays as it is. */
export async function putKey(
  { clock, transport }: { readonly clock: Clock; readonly transport: Pick<Transport, "buckets"> },
  key: string,
  about: Pick<ApiKeyRecord, "name" | "scope" | "user"> & { readonly tenant?: string },
): Promise<void> {
  const hash = hashKey(key);
  if (await transport.buckets.get("keys", hash)) return;
  const record: ApiKeyRecord = {
    id: `key_${ulid(clock.now())}`,
    created_at: clock.now(),
    expires_at: null,
    revoked: false,
    ...about,
  };
  await transport.buckets.put("keys", hash, new TextEncoder().encode(JSON.stringify(record)));
}
