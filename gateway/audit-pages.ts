/** Pages of the audit trail. A cursor is a place: of a tenant's chain its own number, which tells nothing of other tenants. */
import type { AuditEntry } from "../protocols/audit.ts";
import { BerthError } from "../protocols/errors.ts";
import type { AuditStore } from "../runtime/audit.ts";

export interface AuditFilter {
  readonly act?: string | undefined;
  readonly outcome?: string | undefined;
  readonly since?: string | undefined;
}

interface PageQuery {
  readonly tenant: string | undefined;
  readonly limit: number;
  readonly after?: string | undefined;
}

interface AuditPage {
  readonly data: AuditEntry[];
  readonly next: string | null;
}

const STRETCH = 200;
/** Entries that one page looks at, whatever its filter leaves out. */
const MAX_LOOKED_AT = 2_000;
/** Entries of several gateways stand in the order of their storage; their clocks differ. */
const SKEW_MS = 60_000;

/** Newest first. */
export async function readAuditPage(
  store: AuditStore,
  { after, limit, tenant }: PageQuery,
  filter: AuditFilter,
): Promise<AuditPage> {
  const { first, last } = await store.bounds(tenant);
  const data: AuditEntry[] = [];
  let end = Math.min(last + 1, after === undefined ? last + 1 : placeOf(after));
  const lowest = Math.max(first, end - MAX_LOOKED_AT);
  while (end > lowest) {
    const start = Math.max(lowest, end - STRETCH);
    const found = await store.read(tenant, start, end - start);
    for (const { entry, place } of found.filter((each) => each.place < end).toReversed()) {
      if (isOver(entry, filter)) return { data, next: null };
      if (!fits(entry, filter)) continue;
      if (data.length === limit) return { data, next: String(place + 1) };
      data.push(entry);
    }
    end = start;
  }
  return { data, next: end > first ? String(end) : null };
}

/** Oldest first, nothing left out. */
export async function readAuditExport(
  store: AuditStore,
  { after, limit, tenant }: PageQuery,
): Promise<AuditPage> {
  const from = after === undefined ? 1 : placeOf(after) + 1;
  const found = await store.read(tenant, from, limit);
  const last = found.length < limit ? undefined : found.at(-1);
  return { data: found.map(({ entry }) => entry), next: last ? String(last.place) : null };
}

function placeOf(cursor: string): number {
  if (/^\d{1,15}$/.test(cursor)) return Number(cursor);
  throw new BerthError("request.invalid", "the cursor is not one of ours", { field: "after" });
}

function isOver({ time }: AuditEntry, { since }: AuditFilter): boolean {
  return since !== undefined && Date.parse(time) < Date.parse(since) - SKEW_MS;
}

function fits(entry: AuditEntry, { act, outcome, since }: AuditFilter): boolean {
  if (act !== undefined && entry.act !== act) return false;
  if (outcome !== undefined && entry.outcome !== outcome) return false;
  return since === undefined || Date.parse(entry.time) >= Date.parse(since);
}
