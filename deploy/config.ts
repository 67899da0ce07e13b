/**
 * Configuration: the environment, checked once and frozen. Nothing else reads `process.env`. Every
 * variable is here with its default and why; an error names the variable.
 */
import { isIP } from "node:net";
import { z } from "zod";
import { BerthError } from "../protocols/errors.ts";
import { idSchema } from "../protocols/ids.ts";
import type { TierTable } from "../protocols/tiers.ts";
import { count, duration, list, port, urls } from "./config-kinds.ts";
import { kubernetesVariables } from "./kubernetes-config.ts";
import { requireTogether } from "./require-together.ts";
import { readTiers } from "./tier-changes.ts";

const NAME_SERVER = /^(?:(?<four>[\d.]+)|\[?(?<six>[\da-f:.]+)\]?)(?<port>:\d{1,5})?$/i;
const isNameServers = (servers: readonly string[]) =>
  servers.every((text) => {
    const { four, six } = NAME_SERVER.exec(text)?.groups ?? {};
    return isIP(four ?? six ?? "") !== 0;
  });

const environmentSchema = z.object({
  /** Where everything that must survive is kept; development keeps it in the checkout. */
  BERTH_DATA: z.string().min(1).default(".berth"),
  /** Where fetched programs are kept; default: `cache` in the data folder. */
  BERTH_CACHE: z.string().min(1).optional(),
  /** A nats-server that runs already; without it one is found, started and supervised. */
  BERTH_NATS_URL: urls.optional(),
  /** The URL that workers use; default: that of the server we start, or BERTH_NATS_URL. */
  BERTH_WORKER_NATS_URL: urls.optional(),
  /** A .creds file of this process's own user, for a server in operator mode. */
  BERTH_NATS_CREDS: z.string().min(1).optional(),
  /** A folder with the issuer's key, so that a node gives each worker its own credential; with the operator's keys it keeps accounts too. */
  BERTH_NATS_AUTH: z.string().min(1).optional(),
  /** Life of a worker's credential; renewed at half of it. */
  BERTH_CREDENTIAL_TTL: duration("10m"),
  /** Certificate and key of the server that we start, and who vouches for the server of either kind. All are files. */
  BERTH_NATS_TLS_CERT: z.string().min(1).optional(),
  BERTH_NATS_TLS_KEY: z.string().min(1).optional(),
  BERTH_NATS_TLS_CA: z.string().min(1).optional(),
  /** Port of the server that we start. */
  BERTH_NATS_PORT: port(4222),
  /** A release archive of nats-server and its checksum, for machines without Debian's packages. */
  BERTH_NATS_ARCHIVE: z.string().url().optional(),
  BERTH_NATS_SHA256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  /** How often our own server syncs its store to disk; "always" survives a power cut and costs two to three times the time. */
  BERTH_NATS_SYNC: z
    .string()
    .regex(/^(always|\d+(ms|s|m|h))$/, '"always" or a duration such as "2m"')
    .default("2m"),
  /** Copies of every stream. 3 in production; 1 is all that a single server can hold. */
  BERTH_REPLICAS: z.coerce.number().int().min(1).max(5).default(1),
  /** Tags of the servers that may keep streams, such as "region:eu" of a super-cluster; default: where the first node connects. */
  BERTH_STREAM_TAGS: list(""),
  /** Partitions of mailboxes, fixed by the first node that starts. 16 spread well over up to about 8 nodes. */
  BERTH_PARTITIONS: count(16),
  /** Mail that one actor may have waiting in a lane before senders are told. */
  BERTH_MAILBOX_CAPACITY: count(10_000),
  /** How long session events are kept: the longest resume window. */
  BERTH_JOURNAL_RETENTION: duration("30d"),
  /** How long entries of the audit trail are kept; "0s" is for good. */
  BERTH_AUDIT_RETENTION: duration("365d"),
  /** Without renewal for this long a node counts as dead. Three renewals fit in. */
  BERTH_LEASE_TTL: duration("8s"),
  /** Names this node; default: made once and kept in the data folder. */
  BERTH_NODE_ID: idSchema.optional(),
  BERTH_HOST: z.string().default("127.0.0.1"),
  BERTH_PORT: port(8_000),
  BERTH_METRICS_PORT: port(9_464),
  /** Where metrics listen; default: where the API does. */
  BERTH_METRICS_HOST: z.string().optional(),
  /** Files of a certificate with its chain and of its key: the API by TLS. Read again as they change. */
  BERTH_TLS_CERT: z.string().min(1).optional(),
  BERTH_TLS_KEY: z.string().min(1).optional(),
  /** Metrics, and the health of a node without a gateway, by the same certificate. */
  BERTH_METRICS_TLS: z.enum(["on", "off"]).default("off"),
  /** Health of a node without a gateway. */
  BERTH_NODE_PORT: port(3_000),
  /** What starts workers. `auto`: in a pod that may, Kubernetes; Docker where an engine answers and has the image; else processes. */
  BERTH_DRIVER: z.enum(["auto", "process", "docker", "kubernetes"]).default("auto"),
  /** Names what this deployment makes in a container engine; others' things are never touched. Default: made once by the first node. */
  BERTH_DEPLOYMENT: idSchema.optional(),
  /** Image of workers. */
  BERTH_DOCKER_IMAGE: z.string().min(1).default("berth-executor"),
  /** Where the engine listens; default: its usual socket. */
  BERTH_DOCKER_SOCKET: z.string().min(1).default("/var/run/docker.sock"),
  /** A runtime that the engine offers, such as gVisor's `runsc` or Kata's; default: the engine's own. */
  BERTH_DOCKER_RUNTIME: z.string().min(1).optional(),
  /** Networks of workers are cut from this range. */
  BERTH_DOCKER_SUBNETS: z.cidrv4().default("10.212.0.0/14"),
  /** Port at which workers find the broker, on their network's gateway. */
  BERTH_DOCKER_DOOR_PORT: z.coerce.number().int().min(1).max(65_535).default(14_222),
  /** Port of the proxy that workers go out by, on the same address. */
  BERTH_DOCKER_PROXY_PORT: z.coerce.number().int().min(1).max(65_535).default(14_223),
  ...kubernetesVariables,
  /** Name servers, with `:port` if need be, that the proxy asks for hosts outside; default: those of this host. */
  BERTH_EGRESS_DNS: list("").refine(isNameServers, "addresses of name servers"),
  /** Workers that this node may hold, and starts at once. */
  BERTH_MAX_WORKERS: count(64),
  BERTH_START_CONCURRENCY: count(8),
  /** Agents that jobs may name. */
  BERTH_AGENTS: list("shell,echo,claude,codex"),
  /** Directory with the agents' command line tools, put in front of their PATH. */
  BERTH_AGENTS_PATH: z.string().optional(),
  /** Agents whose fleets an enterprise tenant gets when it is made. */
  BERTH_FLEET_AGENTS: list("shell"),
  /**
   * Give agents of every tenant the provider keys of this process's own environment (ANTHROPIC_API_KEY and so
   * on). For one person's machine; off, an agent without a key of its user's ends with a clear error.
   */
  BERTH_SHARE_KEYS: z.enum(["on", "off"]).default("off"),
  /**
   * Keys that users' credentials are sealed under, one `<id>:<32 bytes in base64>` per line, the first current: a file of mode
   * 0600, the text itself, or a command that prints it, such as a secret store's. `berth up` makes `vault.key` in the data folder.
   */
  BERTH_VAULT_KEY_FILE: z.string().min(1).optional(),
  BERTH_VAULT_KEY: z.string().min(1).optional(),
  BERTH_VAULT_KEY_COMMAND: z.string().min(1).optional(),
  /** Changes to the tier table as JSON; durations may be written `"1s"`. */
  BERTH_TIERS: z.string().default("{}"),
  /** Length of the window that hourly limits count in; shortened by tests. */
  BERTH_QUOTA_WINDOW: duration("1h"),
  /** How often hosts and supervisors compare the workers that are wanted with those that are there, if no event tells them. */
  BERTH_SWEEP_EVERY: duration("30s"),
  /** A worker that hears from no node for this long ends itself. */
  BERTH_ORPHAN_AFTER: duration("60s"),
  /** From SIGTERM to SIGKILL of an agent's processes. */
  BERTH_KILL_GRACE: duration("5s"),
  /** Output of one job that is kept; the rest is counted and dropped. */
  BERTH_OUTPUT_LIMIT_BYTES: count(16 * 1024 ** 2),
  BERTH_DRAIN_TIMEOUT: duration("10s"),
  BERTH_LOG_LEVEL: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
  BERTH_JWT_SECRET: z.string().min(32, "at least 32 characters").optional(),
  /** The secret before: tokens that it signed hold until it is taken away. */
  BERTH_JWT_SECRET_PREVIOUS: z.string().min(32, "at least 32 characters").optional(),
  BERTH_JWKS_URL: z.string().url().optional(),
  BERTH_JWT_ISSUER: z.string().optional(),
  BERTH_JWT_AUDIENCE: z.string().optional(),
  BERTH_JWT_SKEW: duration("5s"),
  BERTH_CORS_ORIGINS: list(""),
  /** Load balancers in front of gateways, whose word on a client's address is believed. */
  BERTH_TRUSTED_PROXIES: list("").refine(
    (all) =>
      all.every(
        (one) => z.union([z.cidrv4(), z.cidrv6(), z.ipv4(), z.ipv6()]).safeParse(one).success,
      ),
    "addresses or ranges such as 10.0.0.0/8",
  ),
  /** Where traces go, by OTLP over HTTP; none: there are no traces. Names and meanings are OpenTelemetry's own. */
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url().optional(),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: z.url().optional(),
  OTEL_TRACES_SAMPLER: z
    .enum([
      "always_on",
      "always_off",
      "traceidratio",
      "parentbased_always_on",
      "parentbased_always_off",
      "parentbased_traceidratio",
    ])
    .default("parentbased_always_on"),
  OTEL_TRACES_SAMPLER_ARG: z.coerce.number().min(0).max(1).default(1),
  OTEL_SERVICE_NAME: z.string().min(1).optional(),
  OTEL_SDK_DISABLED: z.enum(["true", "false"]).default("false"),
});
type Environment = z.output<typeof environmentSchema>;

/** Every variable, for `docs/configuration.md` and its test. */
export const CONFIG_VARIABLES: readonly string[] = Object.keys(environmentSchema.shape);

export interface JwtSettings {
  readonly secret?: string;
  readonly previousSecret?: string;
  readonly jwksUrl?: string;
  readonly issuer?: string;
  readonly audience?: string;
  readonly skewMs: number;
}

/** Providers' keys and addresses that agents know, by agent. */
const AGENT_VARIABLES: Readonly<Record<string, readonly string[]>> = {
  claude: ["CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"],
  codex: ["CODEX_ACCESS_TOKEN", "OPENAI_API_KEY", "OPENAI_BASE_URL"],
};

/** Read elsewhere: by the command line as a client, by workers, and by tests. */
const FOREIGN = new Set([
  "BERTH_KEY",
  "BERTH_URL",
  "BERTH_IMAGE_OFFLINE",
  "BERTH_KUBERNETES_CACHE",
  "BERTH_TEST_DOCKER",
  "BERTH_TEST_ENGINE",
  "BERTH_TEST_EXECUTOR_IMAGE",
  "BERTH_TEST_KUBECONFIG",
  "BERTH_TEST_NATS",
]);

export interface Config extends Readonly<Environment> {
  readonly tiers: TierTable;
  /** Ports that were set on purpose: taken means an error, not another port. */
  readonly explicitPorts: ReadonlySet<
    "BERTH_PORT" | "BERTH_METRICS_PORT" | "BERTH_NATS_PORT" | "BERTH_NODE_PORT"
  >;
  /** Search path of this process, for agents and workers. */
  readonly path: string;
  readonly jwt: JwtSettings | undefined;
  /** Variables that an agent's process is given beside its user's own: see BERTH_SHARE_KEYS. */
  readonly agentEnvironment: (agent: string) => Readonly<Record<string, string>>;
  /** BERTH_ variables that nothing reads: most likely misspelt. */
  readonly unknown: readonly string[];
}

/** Checks an environment. Throws `config.invalid` naming the first variable that is wrong. An empty variable is not set. Overrides were given on the command line. */
export function loadConfig(
  source: Readonly<Record<string, string | undefined>> = process.env,
  overrides: Readonly<Record<string, string>> = {},
): Config {
  const environment = Object.fromEntries(
    Object.entries({ ...source, ...overrides }).filter(([, value]) => value !== ""),
  );
  const parsed = environmentSchema.safeParse(environment);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const name = String(issue?.path[0] ?? "the environment");
    throw new BerthError("config.invalid", `${name}: ${issue?.message ?? "not valid"}`, {
      field: name,
    });
  }
  requireTogether(parsed.data);
  requireLongerLife(parsed.data);
  const known = new Set(Object.keys(environmentSchema.shape));
  const ports = ["BERTH_PORT", "BERTH_METRICS_PORT", "BERTH_NATS_PORT", "BERTH_NODE_PORT"] as const;
  return Object.freeze({
    ...parsed.data,
    tiers: readTiers(parsed.data.BERTH_TIERS),
    path: environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin",
    jwt: readJwt(parsed.data),
    agentEnvironment: sharedKeys(parsed.data, environment),
    explicitPorts: new Set(ports.filter((name) => environment[name] !== undefined)),
    unknown: Object.keys(environment).filter(
      (name) => name.startsWith("BERTH_") && !known.has(name) && !FOREIGN.has(name),
    ),
  });
}

/** A worker that no node renews must have ended itself before its credential does: see docs/adr/0015. */
function requireLongerLife({ BERTH_CREDENTIAL_TTL, BERTH_ORPHAN_AFTER }: Environment): void {
  if (BERTH_CREDENTIAL_TTL >= 4 * BERTH_ORPHAN_AFTER) return;
  throw new BerthError(
    "config.invalid",
    "BERTH_CREDENTIAL_TTL: must be at least four times BERTH_ORPHAN_AFTER",
    { field: "BERTH_CREDENTIAL_TTL" },
  );
}

function readJwt(env: Environment): JwtSettings | undefined {
  if (env.BERTH_JWT_SECRET === undefined && env.BERTH_JWKS_URL === undefined) return undefined;
  return {
    skewMs: env.BERTH_JWT_SKEW,
    ...(env.BERTH_JWT_SECRET === undefined ? {} : { secret: env.BERTH_JWT_SECRET }),
    ...(env.BERTH_JWT_SECRET_PREVIOUS === undefined
      ? {}
      : { previousSecret: env.BERTH_JWT_SECRET_PREVIOUS }),
    ...(env.BERTH_JWKS_URL === undefined ? {} : { jwksUrl: env.BERTH_JWKS_URL }),
    ...(env.BERTH_JWT_ISSUER === undefined ? {} : { issuer: env.BERTH_JWT_ISSUER }),
    ...(env.BERTH_JWT_AUDIENCE === undefined ? {} : { audience: env.BERTH_JWT_AUDIENCE }),
  };
}

function sharedKeys(
  env: Environment,
  environment: Readonly<Record<string, string | undefined>>,
): Config["agentEnvironment"] {
  const shared = new Map(
    Object.entries(AGENT_VARIABLES).map(([agent, names]) => [
      agent,
      Object.fromEntries(
        names.flatMap((name) => (environment[name] ? [[name, environment[name]]] : [])),
      ),
    ]),
  );
  return (agent) => (env.BERTH_SHARE_KEYS === "on" ? (shared.get(agent) ?? {}) : {});
}

const SECRET = /SECRET|_URL$|^BERTH_VAULT_KEY(?:_COMMAND)?$/;

/** The configuration as it may be printed: secrets and URLs with credentials are not in it. */
export function describeConfig(config: Config): Record<string, unknown> {
  const entries = Object.entries(config).filter(([name]) => name.startsWith("BERTH_"));
  return Object.fromEntries(
    entries.map(([name, value]) => [
      name,
      value !== undefined && SECRET.test(name) ? "[set]" : value,
    ]),
  );
}

/** What the command line, as a client, takes from the environment. */
export function clientEnvironment(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): {
  readonly key: string | undefined;
  readonly url: string | undefined;
  readonly noColor: boolean;
} {
  return {
    key: environment["BERTH_KEY"] || undefined,
    url: environment["BERTH_URL"] || undefined,
    noColor: (environment["NO_COLOR"] ?? "") !== "",
  };
}
