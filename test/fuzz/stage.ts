/** The gateway that is fuzzed: two tenants with things of their own, an operator, and somebody without a credential. */
import { startVaultService } from "../../actors/vault/vault-service.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { type GatewayRig, startGatewayRig } from "../support/gateway-rig.ts";
import { KeyFile, keyLine, vaultRig } from "../support/vault-rig.ts";

const PLENTY = 1_000_000_000;
/** Stands in all that the first tenant wrote, and must be in no answer to anybody else. */
export const CANARY = "canary-of-the-first-tenant";

/** Whose credential a request has. `pro` is the first tenant; `free` and `stranger` its neighbours. */
export const CALLERS = ["pro", "free", "freeAdmin", "operator", "none", "wrong"] as const;
export type Caller = (typeof CALLERS)[number];
/** Those for whom nothing of the first tenant exists. */
export const OUTSIDERS = ["free", "freeAdmin", "none"] as const satisfies readonly Caller[];

export interface Stage extends AsyncDisposable {
  readonly rig: GatewayRig;
  readonly url: string;
  keyOf(caller: Caller): string | undefined;
  /** Ids of the first tenant's, by the beginning of the path that names them. */
  readonly owned: Readonly<Record<string, readonly string[]>>;
  /** What failed outside of any answer. */
  readonly crashes: string[];
}

const lifted = {
  jobsPerHour: PLENTY,
  requestsPerMinute: PLENTY,
  streamsPerUser: 1_000,
  streamsPerTenant: 1_000,
  queuedJobs: 1_000,
};

export async function openStage(): Promise<Stage> {
  const crashes: string[] = [];
  const crashed = (reason: unknown) =>
    crashes.push(reason instanceof Error ? (reason.stack ?? reason.message) : String(reason));
  process.on("unhandledRejection", crashed);
  process.on("uncaughtException", crashed);
  const rig = await startGatewayRig({
    tiers: { free: { ...lifted, minWorkers: 1 }, pro: lifted, enterprise: lifted },
    tuning: {
      freshMs: 20,
      askTimeoutMs: 1_000,
      patienceMs: 500,
      strangersPerMinute: PLENTY,
      headersMs: 1_000,
      requestMs: 2_000,
      lateCheckMs: 100,
    },
  });
  const { vault } = await vaultRig(new KeyFile(keyLine("k1")), { buckets: rig.transport.buckets });
  const service = await startVaultService({
    vault,
    bus: rig.transport.bus,
    clock: systemClock,
    log: silentLogger,
  });
  await rig.api("PUT", "/v1/credentials/openai", { body: { value: `${CANARY}-key` } });
  await rig.addKey("key-freeAdmin", { tenant: "t-free", user: "chief", scope: "tenant_admin" });
  const jobs: string[] = [];
  const sessions: string[] = [];
  for (let n = 0; n < 3; n += 1) {
    const { id, session_id } = await rig.submit(`${CANARY} ${n}`);
    jobs.push(id);
    sessions.push(session_id);
  }
  const keys: Partial<Record<Caller, string>> = {
    pro: rig.keys.pro,
    free: rig.keys.free,
    freeAdmin: "key-freeAdmin",
    operator: rig.keys.operator,
    wrong: "berth_wrong",
  };
  return {
    rig,
    url: rig.url,
    keyOf: (caller) => keys[caller],
    owned: {
      "/v1/jobs": jobs,
      "/v1/sessions": sessions,
      "/v1/tenants": ["t-pro"],
      "/v1/actors": ["t-pro"],
    },
    crashes,
    async [Symbol.asyncDispose]() {
      await service.close();
      await rig[Symbol.asyncDispose]();
      process.off("unhandledRejection", crashed);
      process.off("uncaughtException", crashed);
    },
  };
}
