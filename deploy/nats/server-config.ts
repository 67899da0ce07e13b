/** The text of a `nats.conf` for one server on loopback. */
export interface ServerConfig {
  /** How a client sees that it reached this server and no other. */
  readonly name: string;
  readonly port: number;
  readonly monitorPort: number | undefined;
  readonly storeDir: string;
  readonly syncInterval: string;
  readonly logFile: string;
  readonly pidFile: string;
  /** Who may connect, and what they may: further lines. None: anybody on this machine may do everything. */
  readonly access: readonly string[];
}

const LOG_BYTES = 8 * 1024 ** 2;

export function formatServerConfig(config: ServerConfig): string {
  const { port, monitorPort } = config;
  const lines = [
    "# Written by Berth at every start.",
    `server_name: ${quote(config.name)}`,
    `listen: "127.0.0.1:${port}"`,
    ...(monitorPort === undefined ? [] : [`http: "127.0.0.1:${monitorPort}"`]),
    `log_file: ${quote(config.logFile)}`,
    `pid_file: ${quote(config.pidFile)}`,
    `logfile_size_limit: ${LOG_BYTES}`,
    "logfile_max_num: 3",
    // Clients of ours ping; a dead one is noticed in seconds.
    'ping_interval: "10s"',
    "ping_max: 2",
    `jetstream { store_dir: ${quote(config.storeDir)}, sync_interval: ${quote(config.syncInterval)} }`,
    ...config.access,
  ];
  return `${lines.join("\n")}\n`;
}

/** Double quotes take backslash escapes in this format, as in JSON. */
const quote = (text: string) => JSON.stringify(text);
