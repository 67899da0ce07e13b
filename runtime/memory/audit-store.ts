/** Audit chains of a `MemoryBroker`: the same places and refusals as on the real one, and no retention. */
import { BerthError } from "../../protocols/errors.ts";
import type { AuditStore } from "../audit.ts";
import type { MemoryBroker } from "./broker.ts";

export function memoryAuditStore(broker: MemoryBroker): AuditStore {
  const { audit } = broker;
  const placed = (tenant: string | undefined) =>
    audit
      .map((entry, at) => ({ place: tenant === undefined ? at + 1 : entry.seq, entry }))
      .filter(({ entry }) => tenant === undefined || entry.tenant === tenant);
  const newest = (tenant: string) => {
    const at = audit.findLastIndex((entry) => entry.tenant === tenant);
    const entry = audit[at];
    return entry && { entry: structuredClone(entry), revision: at + 1 };
  };
  return {
    newest: (tenant) => Promise.resolve(newest(tenant)),
    async append(entry, expected) {
      if ((newest(entry.tenant)?.revision ?? 0) !== expected)
        throw new BerthError("record.conflict");
      if (audit.some(({ id }) => id === entry.id)) return;
      audit.push(structuredClone(entry));
    },
    read: (tenant, from, limit) =>
      Promise.resolve(
        structuredClone(
          placed(tenant)
            .filter(({ place }) => place >= from)
            .slice(0, limit),
        ),
      ),
    async bounds(tenant) {
      const all = placed(tenant);
      return { first: all[0]?.place ?? 1, last: all.at(-1)?.place ?? 0 };
    },
    retentionMs: () => Promise.resolve(null),
  };
}
