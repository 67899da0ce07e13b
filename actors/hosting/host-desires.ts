/**
 * What hosts are told of what is wanted of them: by the records in the buckets, and by the tenants' supervisors, who have
 * the last word. Invariants:
 * D1 a worker without a record is unowned only if its supervisor says so.
 * D2 a workspace is past its life only if its tier's time has passed since its last use, and its supervisor knows
 *    nothing of it: no worker that uses it or will, no reminder for its end. Whoever cannot be asked has not agreed.
 */
import { SUPERVISOR_KEY, Supervisor } from "../../protocols/actors/supervisor.ts";
import { asBerthError } from "../../protocols/errors.ts";
import {
  type WorkerRecord,
  type WorkerSpec,
  workerRecordSchema,
} from "../../protocols/executor.ts";
import { tenantRecordSchema } from "../../protocols/records.ts";
import type { TierTable } from "../../protocols/tiers.ts";
import type { Client } from "../../runtime/client.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { Buckets } from "../../runtime/transport.ts";
import { isPastLife, workspaceKeptMs } from "./decide-workspace.ts";

export interface EndedWorker {
  readonly worker: string;
  readonly spec: Pick<WorkerSpec, "tenant">;
  readonly reason: string;
  readonly code: string;
}

export interface HostDesires {
  records(): Promise<readonly WorkerRecord[]>;
  isOwned(live: Pick<EndedWorker, "worker" | "spec">): Promise<boolean>;
  isWorkspaceWanted(workspace: {
    readonly tenant: string;
    readonly key: string;
    readonly usedAt: number;
  }): Promise<boolean>;
  /** Resolves when it is stored. */
  reportExit(exit: EndedWorker): Promise<void>;
}

interface Collaborators {
  readonly client: Client;
  readonly buckets: Pick<Buckets, "get" | "list">;
  readonly tiers: TierTable;
  readonly clock: Clock;
  readonly logger: Logger;
}

const REPORT_MS = 60_000;
const decoder = new TextDecoder();

export function hostDesires(parts: Collaborators): HostDesires {
  const { client, buckets, tiers, clock, logger } = parts;
  const supervisor = (tenant: string) => client.actor(Supervisor, tenant, SUPERVISOR_KEY);

  const keptMs = async (tenant: string) => {
    const entry = await buckets.get("tenants", tenant);
    const record = entry?.value
      ? tenantRecordSchema.parse(JSON.parse(decoder.decode(entry.value)))
      : undefined;
    return workspaceKeptMs(tenant, record, tiers);
  };

  return {
    async records() {
      const entries = await buckets.list("workers", "");
      return entries.flatMap(({ key, value }) => {
        try {
          return [workerRecordSchema.parse(JSON.parse(decoder.decode(value)))];
        } catch (thrown) {
          logger.error(
            { worker: key, err: asBerthError(thrown) },
            "a worker's record is unreadable",
          );
          return []; // D1: its supervisor will be asked.
        }
      });
    },
    // D1
    async isOwned({ worker, spec }) {
      return (await supervisor(spec.tenant).owns({ workers: [worker] })).owned.includes(worker);
    },
    // D2
    async isWorkspaceWanted({ tenant, key, usedAt }) {
      if (!isPastLife(usedAt, await keptMs(tenant), clock.now())) return true;
      const { wanted } = await supervisor(tenant).workspaceWanted({ workspace_key: key });
      return wanted ?? false;
    },
    async reportExit({ worker, spec, reason, code }) {
      const options = { timeoutMs: REPORT_MS, id: `exited:${worker}` };
      await supervisor(spec.tenant).exited({ worker, reason, code }, options);
    },
  };
}
