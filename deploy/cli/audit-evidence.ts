/** The audit trail as evidence: read from a gateway, and judged chain by chain. */

import { auditExportSchema, MAX_AUDIT_EXPORT } from "../../protocols/api-operators.ts";
import type { AuditEntry } from "../../protocols/audit.ts";
import { BerthError } from "../../protocols/errors.ts";
import {
  type Anchor,
  type ChainReport,
  parseAnchor,
  verifyChain,
} from "../../runtime/audit-chain.ts";
import type { Gateway } from "./gateway.ts";

export interface Evidence {
  readonly entries: readonly AuditEntry[];
  /** As in `VerifyOptions`. */
  readonly retentionMs: number | null | undefined;
}

export interface TenantReport extends ChainReport {
  readonly tenant: string;
}

/** Pages of the trail, oldest first. */
export async function* readExport(
  gateway: Gateway,
  tenant: string | undefined,
): AsyncGenerator<{ readonly entries: AuditEntry[]; readonly retentionMs: number | null }> {
  let after: string | undefined;
  do {
    const query = { tenant, limit: MAX_AUDIT_EXPORT, after };
    const page = await gateway.get("/v1/audit/export", auditExportSchema, query);
    yield { entries: page.data, retentionMs: page.retention_ms };
    after = page.next ?? undefined;
  } while (after !== undefined);
}

/** Each chain by itself; an anchor without a tenant is that of the only chain. Throws `config.invalid` for one that is none. */
export function verifyChains(
  { entries, retentionMs }: Evidence,
  anchors: readonly string[],
  now: number,
): TenantReport[] {
  const chains = new Map<string, AuditEntry[]>();
  for (const entry of entries) {
    const chain = chains.get(entry.tenant) ?? [];
    chains.set(entry.tenant, chain);
    chain.push(entry);
  }
  const seen = anchors.map((text) => readAnchor(text, [...chains.keys()]));
  // A chain of which only the anchor is left was removed as a whole.
  for (const { tenant } of seen) if (!chains.has(tenant)) chains.set(tenant, []);
  const retention = retentionMs === undefined ? {} : { retentionMs };
  return [...chains].map(([tenant, chain]) => {
    const own = seen.filter((each) => each.tenant === tenant).map(({ anchor }) => anchor);
    return { tenant, ...verifyChain(chain, { anchors: own, now, ...retention }) };
  });
}

function readAnchor(
  text: string,
  tenants: readonly string[],
): { readonly tenant: string; readonly anchor: Anchor } {
  const at = text.lastIndexOf("=");
  const anchor = parseAnchor(text.slice(at + 1));
  const [only, ...others] = tenants;
  const tenant = at > 0 ? text.slice(0, at) : others.length === 0 ? only : undefined;
  if (anchor && tenant !== undefined) return { tenant, anchor };
  throw new BerthError("config.invalid", `"${text}" is not tenant=seq:hash`, { field: "anchor" });
}
