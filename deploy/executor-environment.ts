import type { Config } from "./config.ts";

/** What every worker is told beside its identity. */
export function executorEnvironment(config: Config): Record<string, string> {
  return {
    BERTH_GRACE_MS: String(config.BERTH_KILL_GRACE),
    BERTH_ORPHAN_AFTER_MS: String(config.BERTH_ORPHAN_AFTER),
    BERTH_OUTPUT_LIMIT_BYTES: String(config.BERTH_OUTPUT_LIMIT_BYTES),
  };
}
