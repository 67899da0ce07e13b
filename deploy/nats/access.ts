/** What `berth nats access` prints: who may connect, for a nats-server that is started from a file of `configurations/`. */
import { systemClock } from "../../runtime/clock.ts";
import { authFolder } from "../broker.ts";
import type { Config } from "../config.ts";
import { ensureOperatorKeys } from "./auth/operator-keys.ts";
import { operatorModeLines } from "./auth/operator-mode.ts";
import { tlsLines } from "./tls-lines.ts";

/** A variable of the server's own environment. */
const ACCOUNTS_FOLDER = "$NATS_ACCOUNTS";

/** Makes the keys where there are none. The text holds no secret. */
export async function accessText(config: Config): Promise<string> {
  const iat = Math.floor(systemClock.now() / 1_000);
  const folder = config.BERTH_NATS_AUTH ?? authFolder(config.BERTH_DATA);
  const keys = await ensureOperatorKeys(folder, iat);
  const accounts = (["platform", "system"] as const).map(
    (name) => `# NATS_${name.toUpperCase()}_ACCOUNT=${keys.get(name).publicKey}`,
  );
  const lines = [
    '# Written by "berth nats access". A leaf needs the names of these accounts in its environment:',
    ...accounts,
    ...operatorModeLines(keys, ACCOUNTS_FOLDER, iat),
    ...tlsLines(config),
  ];
  return `${lines.join("\n")}\n`;
}
