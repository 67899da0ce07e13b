/** The text of a `nats.conf` for one server on loopback. */
import { ANY_ONE } from "../../protocols/isolation.ts";
import { ISOLATION_POLICY } from "../../protocols/isolation-policy.ts";
import { natsPermissions } from "../../runtime/isolation/nats-permissions.ts";
import type { Credentials } from "./credentials.ts";

export interface ServerConfig {
  /** How a client sees that it reached this server and no other. */
  readonly name: string;
  readonly port: number;
  readonly monitorPort: number | undefined;
  readonly storeDir: string;
  readonly syncInterval: string;
  readonly logFile: string;
  /** Absent: anybody on this machine may do everything. For tests alone. */
  readonly credentials: Credentials | undefined;
}

const LOG_BYTES = 8 * 1024 ** 2;

export function formatServerConfig(config: ServerConfig): string {
  const { port, monitorPort, credentials } = config;
  const lines = [
    "# Written by Berth at every start.",
    `server_name: ${quote(config.name)}`,
    `listen: "127.0.0.1:${port}"`,
    ...(monitorPort === undefined ? [] : [`http: "127.0.0.1:${monitorPort}"`]),
    `log_file: ${quote(config.logFile)}`,
    `logfile_size_limit: ${LOG_BYTES}`,
    "logfile_max_num: 3",
    // Clients of ours ping; a dead one is noticed in seconds.
    'ping_interval: "10s"',
    "ping_max: 2",
    `jetstream { store_dir: ${quote(config.storeDir)}, sync_interval: ${quote(config.syncInterval)} }`,
    ...(credentials === undefined ? [] : authorization(credentials)),
  ];
  return `${lines.join("\n")}\n`;
}

function authorization({ platform, worker }: Credentials): string[] {
  const permissions = natsPermissions(ISOLATION_POLICY, { kind: "container", id: ANY_ONE });
  return [
    "authorization {",
    "  users: [",
    `    { user: ${quote(platform.user)}, password: ${quote(platform.password)} }`,
    `    { user: ${quote(worker.user)}, password: ${quote(worker.password)}, permissions: {`,
    `      publish: { allow: ${list(permissions.publish)} }`,
    `      subscribe: { allow: ${list(permissions.subscribe)} }`,
    ...(permissions.answers ? ['      allow_responses: { max: 1, expires: "1m" }'] : []),
    "    } }",
    "  ]",
    "}",
  ];
}

const list = (subjects: readonly string[]) => `[${subjects.map(quote).join(", ")}]`;

/** Double quotes take backslash escapes in this format, as in JSON. */
const quote = (text: string) => JSON.stringify(text);
