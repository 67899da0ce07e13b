/**
 * What was denied, counted before it is recorded, so that a flood of refused requests cannot fill the trail.
 *
 * 1. The first denial of a group is recorded at once; those that follow within its minute become one entry with a count.
 * 2. So many groups at a time; whatever is denied beyond them is one group per chain, act and code.
 * 3. Nothing waits for a denial to be recorded; one that cannot be is counted and logged.
 */
import type { Act } from "../protocols/audit.ts";
import type { Audit } from "./audit.ts";
import type { Clock } from "./clock.ts";
import type { Logger } from "./logger.ts";
import type { Metrics } from "./metrics.ts";

export interface Denials {
  note(act: Act): void;
  /** Records what was counted and not recorded yet. */
  close(): Promise<void>;
}

const WINDOW_MS = 60_000;
const MAX_GROUPS = 256;
/** Stands for the actors and sources of groups that were too many to tell apart. */
const MANY = "many";

interface Group {
  readonly act: Act;
  /** Since the last that was recorded. */
  count: number;
  readonly stop: () => void;
}

export function boundedDenials(deps: {
  readonly audit: Audit;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly maxGroups?: number;
}): Denials {
  const { audit, clock, logger, metrics, maxGroups = MAX_GROUPS } = deps;
  const groups = new Map<string, Group>();
  const writing = new Set<Promise<void>>();

  const write = (act: Act) => {
    const done = audit.record(act).catch((thrown: unknown) => {
      metrics.count("berth_audit_lost_total");
      logger.error({ err: thrown, act: act.act, code: act.code }, "a denial was not recorded");
    });
    writing.add(done);
    void done.finally(() => writing.delete(done));
  };
  const flush = (name: string) => {
    const group = groups.get(name);
    if (!group) return;
    group.stop();
    groups.delete(name);
    if (group.count > 0) write({ ...group.act, count: group.count });
  };
  const open = (name: string, act: Act) => {
    const stop = clock.after(WINDOW_MS, () => flush(name));
    groups.set(name, { act, count: 0, stop });
    write(act);
  };

  return {
    note(act) {
      metrics.count("berth_denied_total", { code: act.code ?? "none" });
      const own = nameOf(act);
      const isOwn = groups.has(own) || groups.size < maxGroups;
      const counted = isOwn ? act : merged(act); // 2
      const name = isOwn ? own : nameOf(counted);
      const group = groups.get(name);
      if (group) group.count += 1;
      else open(name, counted); // 1
    },
    async close() {
      for (const name of [...groups.keys()]) flush(name);
      await Promise.all(writing);
    },
  };
}

function nameOf({ tenant, actor, act, code, source }: Act): string {
  return JSON.stringify([
    tenant,
    actor.tenant,
    actor.user,
    actor.key,
    act,
    code,
    source && networkOf(source),
  ]);
}

/** Whoever has one IPv6 address has the 2^64 beside it. Pure. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined || !address.includes(":")) return mapped ?? address;
  const [head = "", tail] = address.split("::");
  const groups = (part: string) => part.split(":").filter((group) => group !== "");
  const [left, right] = [groups(head), groups(tail ?? "")];
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  const all = [...left, ...Array<string>(zeros).fill("0"), ...right];
  return `${all.slice(0, 4).join(":")}::/64`;
}

function merged(act: Act): Act {
  const actor = { tenant: null, user: MANY, scope: act.actor.scope, key: null };
  return { ...act, actor, target: MANY, source: undefined, request: undefined, detail: {} };
}
