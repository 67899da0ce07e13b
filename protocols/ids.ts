import { z } from "zod";
import { BerthError } from "./errors.ts";

/**
 * Identifiers become tokens of NATS subjects, file names and container labels. The character set is
 * the intersection that is safe in all three, so no identifier is ever escaped.
 */
export const ID_PATTERN = /^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?$/;

export const idSchema = z
  .string()
  .regex(
    ID_PATTERN,
    "1 to 64 letters, digits, '-' or '_', starting and ending with a letter or digit",
  );

/** The tenant that owns what belongs to nobody: the shared pool, capacity. Users can never be given it. */
export const PLATFORM_TENANT = "berth-platform";

/** Tenant names that start so are ours. */
const RESERVED_TENANT_PREFIX = "berth-";

/** A tenant that a person may be in. */
export const tenantIdSchema = idSchema.refine((id) => !id.startsWith(RESERVED_TENANT_PREFIX), {
  message: `tenant ids that start with "${RESERVED_TENANT_PREFIX}" are reserved`,
});

const prefixed = (prefix: string) =>
  z
    .string()
    .regex(new RegExp(`^${prefix}_[0-9A-HJKMNP-TV-Z]{26}$`), `an id such as ${prefix}_01J...`);

export const sessionIdSchema = prefixed("ses");
export const jobIdSchema = prefixed("job");

/** Checks an identifier that came from outside; throws `id.invalid` naming `field`. */
export function parseId(value: string, field: string): string {
  if (ID_PATTERN.test(value)) return value;
  throw new BerthError("id.invalid", `${field} must be 1 to 64 letters, digits, "-" or "_"`, {
    field,
  });
}

/** Where an actor is: never chosen by a caller, only named. */
export interface ActorRef {
  readonly kind: string;
  readonly tenant: string;
  readonly key: string;
}

/** `acme/session/ses_01J...`: for logs, metrics labels of bounded kinds, and map keys. */
export function refName(ref: ActorRef): string {
  return `${ref.tenant}/${ref.kind}/${ref.key}`;
}

/** The inverse of `refName`. Throws `id.invalid` when it is not three identifiers. */
export function parseRefName(name: string): ActorRef {
  const [tenant, kind, key, ...rest] = name.split("/");
  if (!tenant || !kind || !key || rest.length > 0) {
    throw new BerthError("id.invalid", `"${name}" is not tenant/kind/key`, { field: "actor" });
  }
  return {
    tenant: parseId(tenant, "tenant"),
    kind: parseId(kind, "kind"),
    key: parseId(key, "key"),
  };
}
