import { spawnSync } from "node:child_process";

const TIMEOUT_MS = 30_000;

/** Whether a docker command succeeds; what it says is nobody's business. */
export function answers(args) {
  return spawnSync("docker", args, { stdio: "ignore", timeout: TIMEOUT_MS }).status === 0;
}
