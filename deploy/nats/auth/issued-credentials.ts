/**
 * Workers' credentials on a node that has the issuer's key. Invariants:
 * C1 a worker that starts gets a credential once its account is known to the broker.
 * C2 another host's worker is given one only if its record says that it is wanted, and its host has no lease.
 * C3 what could not be revoked is tried again until it expires by itself.
 * C4 a node that stops revokes what its workers had before it leaves, if the broker answers in time.
 * C5 what could not be renewed is asked for again with the worker's next beat, and people are told the first time.
 */
import type { WorkerConnection } from "../../../executor/drivers/driver.ts";
import { RecentIds } from "../../../executor/recent-ids.ts";
import type { WorkerCredentials } from "../../../executor/worker-credentials.ts";
import { asBerthError } from "../../../protocols/errors.ts";
import {
  type BrokerCredential,
  type WorkerSpec,
  workerRecordSchema,
} from "../../../protocols/executor.ts";
import { atMost } from "../../../runtime/at-most.ts";
import type { Clock } from "../../../runtime/clock.ts";
import type { Logger } from "../../../runtime/logger.ts";
import type { WorkerAccounts } from "../../../runtime/nats-auth/account-keeper.ts";
import type { CredentialIssuer } from "../../../runtime/nats-auth/credential-issuer.ts";
import { isDue, isHighTime } from "../../../runtime/nats-auth/decide-renewal.ts";
import { accountName } from "../../../runtime/nats-auth/worker-account.ts";
import type { Buckets } from "../../../runtime/transport.ts";

export interface IssuedParts {
  readonly issuer: CredentialIssuer;
  readonly accounts: WorkerAccounts;
  readonly buckets: Pick<Buckets, "get">;
  readonly liveNodes: () => readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface IssuedCredentials extends WorkerCredentials {
  /** C1. */
  connection(spec: WorkerSpec, way: WorkerConnection): Promise<WorkerConnection>;
  /** Gives up what could not be revoked within a short time (C4). */
  close(): Promise<void>;
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;
const CLOSE_MS = 2_000;
const ENDED = new Set(["stopping", "lost"]);
/** Workers whose trouble is known (C5). */
const REMEMBERED = 10_000;

export function issuedCredentials(parts: IssuedParts): IssuedCredentials {
  const { accounts, buckets, clock, issuer, liveNodes, logger } = parts;
  const closing = new AbortController();
  const revoking = new Set<Promise<void>>();
  const inTrouble = new RecentIds(REMEMBERED);
  const issue = async (spec: Pick<WorkerSpec, "worker" | "tenant" | "tier">) =>
    issuer.issue(spec.worker, await accounts.ensure(accountName(spec)));

  const revoke = async (spec: WorkerSpec) => {
    const expiredAt = clock.monotonic() + issuer.ttlMs;
    for (let pauseMs = FIRST_PAUSE_MS; !closing.signal.aborted; pauseMs *= 2) {
      try {
        await accounts.revoke(accountName(spec), spec.worker);
        return;
      } catch (thrown) {
        const err = asBerthError(thrown);
        if (clock.monotonic() > expiredAt) return;
        logger.warn({ err, worker: spec.worker }, "a credential is not revoked yet"); // C3
        await clock.sleep(Math.min(pauseMs, LONGEST_PAUSE_MS), closing.signal);
      }
    }
  };

  /** C5. */
  const renewed = async <T>(worker: string, next: Promise<T>): Promise<T> => {
    try {
      const credential = await next;
      inTrouble.delete(worker);
      return credential;
    } catch (thrown) {
      const err = asBerthError(thrown);
      if (!inTrouble.has(worker)) logger.warn({ err, worker }, "a credential is not renewed yet");
      inTrouble.add(worker);
      throw err;
    }
  };

  /** C2. */
  const rescue = async (worker: string): Promise<BrokerCredential | undefined> => {
    const entry = await buckets.get("workers", worker);
    if (entry?.value === undefined) return undefined;
    const record = workerRecordSchema.parse(JSON.parse(new TextDecoder().decode(entry.value)));
    if (ENDED.has(record.phase) || record.host === null) return undefined;
    return liveNodes().includes(record.host) ? undefined : await issue(record.spec);
  };

  return {
    connection: async (spec, way) => ({ ...way, credential: await issue(spec) }),
    renew: (spec, { credential }) => {
      const { publicKey, ttlMs } = issuer;
      const now = clock.now();
      if (!credential || !isDue(credential, { issuer: publicKey, ttlMs, now })) return undefined;
      return renewed(spec.worker, issue(spec));
    },
    rescue: (worker, { credential }) => {
      const { ttlMs } = issuer;
      if (!credential || !isHighTime(credential, { ttlMs, now: clock.now() })) return undefined;
      return renewed(worker, rescue(worker));
    },
    revoke: (spec) => {
      const revoked = revoke(spec).finally(() => revoking.delete(revoked));
      revoking.add(revoked);
    },
    async close() {
      await atMost(clock, CLOSE_MS, Promise.all(revoking)); // C4
      closing.abort();
    },
  };
}
