/** What a worker is told by its environment, read once at its start. */
import { BerthError } from "../protocols/errors.ts";
import type { BrokerCredential, BrokerTls, WorkerIdentity } from "../protocols/executor.ts";
import type { WorkspaceOptions } from "./workspace.ts";

export interface ExecutorConfig {
  readonly worker: string;
  /** With user and password: never logged, never given to an agent. */
  readonly natsUrl: string;
  /** For agents, with the worker's token: never logged. */
  readonly proxyUrl: string | undefined;
  /** The worker's own: a secret as the URL is. */
  readonly credential: BrokerCredential | undefined;
  readonly natsTls: BrokerTls | undefined;
  readonly partitions: number;
  readonly slots: number;
  readonly tier: string;
  readonly workspace: WorkspaceOptions;
  /** Search path of agents. */
  readonly path: string;
  /** The worker's own environment, from which agents get a short list. */
  readonly inherited: Readonly<Record<string, string | undefined>>;
  /** Between SIGTERM and SIGKILL. */
  readonly graceMs: number;
  /** Without a word from any node for so long, the worker ends itself. */
  readonly orphanAfterMs: number;
  readonly outputLimitBytes: number;
}

const MODES = ["job", "user", "tenant"] as const;
const DEFAULT_OUTPUT_LIMIT_BYTES = 16 * 1024 * 1024;

type Environment = Readonly<Record<string, string | undefined>>;

/** What the identity says counts, whatever the environment says. Throws `config.invalid`, naming the variable. */
export function parseExecutorConfig(
  inherited: Environment,
  identity?: WorkerIdentity,
): ExecutorConfig {
  const env = identity === undefined ? inherited : { ...inherited, ...variablesOf(identity) };
  const text = (name: string, fallback?: string): string => {
    const value = env[name] ?? fallback;
    if (value === undefined || value === "")
      throw new BerthError("config.invalid", `${name} is not set`);
    return value;
  };
  const whole = (name: string, fallback: number): number => {
    const value = Number(env[name] ?? fallback);
    if (Number.isSafeInteger(value) && value >= 0) return value;
    throw new BerthError("config.invalid", `${name} must be a whole number`);
  };
  const mode = MODES.find((name) => name === text("BERTH_WORKSPACE_MODE", "job"));
  if (mode === undefined)
    throw new BerthError(
      "config.invalid",
      `BERTH_WORKSPACE_MODE must be one of ${MODES.join(", ")}`,
    );
  const isolated = env["BERTH_ISOLATED"] === "1";
  return Object.freeze({
    worker: text("BERTH_WORKER"),
    natsUrl: text("BERTH_NATS_URL"),
    proxyUrl: identity?.proxy_url,
    credential: identity?.credential,
    natsTls: identity?.nats_tls,
    partitions: whole("BERTH_PARTITIONS", 64),
    slots: whole("BERTH_SLOTS", 1),
    tier: text("BERTH_TIER", "free"),
    workspace: { root: text("BERTH_WORKSPACE"), mode, isolated },
    path: text("BERTH_AGENT_PATH", env["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"),
    inherited,
    graceMs: whole("BERTH_GRACE_MS", 5_000),
    orphanAfterMs: whole("BERTH_ORPHAN_AFTER_MS", 60_000),
    outputLimitBytes: whole("BERTH_OUTPUT_LIMIT_BYTES", DEFAULT_OUTPUT_LIMIT_BYTES),
  });
}

/** Undefined: no health server. */
export function healthPortOf(env: Environment): number | undefined {
  const text = env["BERTH_HEALTH_PORT"];
  if (text === undefined || text === "") return undefined;
  const port = Number(text);
  if (Number.isSafeInteger(port) && port > 0 && port < 65_536) return port;
  throw new BerthError("config.invalid", "BERTH_HEALTH_PORT must be a port");
}

function variablesOf(identity: WorkerIdentity): Environment {
  return {
    BERTH_WORKER: identity.worker,
    BERTH_NATS_URL: identity.nats_url,
    BERTH_PARTITIONS: String(identity.partitions),
    BERTH_SLOTS: String(identity.slots),
    BERTH_TIER: identity.tier,
    BERTH_WORKSPACE_MODE: identity.workspace_mode,
  };
}
