/** Variables that say something together, or nothing. */
import { BerthError } from "../protocols/errors.ts";

/** What is of use together alone. */
const PAIRS = [
  ["BERTH_NATS_ARCHIVE", "BERTH_NATS_SHA256"],
  ["BERTH_NATS_TLS_CERT", "BERTH_NATS_TLS_KEY"],
  ["BERTH_TLS_CERT", "BERTH_TLS_KEY"],
] as const;

/** Places for one thing. */
const SOURCES = ["BERTH_VAULT_KEY_FILE", "BERTH_VAULT_KEY", "BERTH_VAULT_KEY_COMMAND"] as const;

/** Half of a pair, or two places for one thing, is a mistake and not half a wish. */
export function requireTogether(env: Readonly<Record<string, unknown>>): void {
  const [first, second] = SOURCES.filter((name) => env[name] !== undefined);
  if (second !== undefined) {
    throw new BerthError("config.invalid", `${second}: set only one of it and ${first}`, {
      field: second,
    });
  }
  for (const pair of PAIRS) {
    const missing = pair.filter((name) => env[name] === undefined);
    if (missing.length !== 1) continue;
    throw new BerthError("config.invalid", `${missing[0]}: must be set together with its pair`, {
      field: missing[0],
    });
  }
  if (env["BERTH_METRICS_TLS"] === "on" && env["BERTH_TLS_CERT"] === undefined) {
    const message = "BERTH_METRICS_TLS: needs BERTH_TLS_CERT and BERTH_TLS_KEY";
    throw new BerthError("config.invalid", message, { field: "BERTH_METRICS_TLS" });
  }
}
