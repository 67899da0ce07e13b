/** Docker Compose for the tests of deploy/compose: the engine's own plugin, or the distribution's newest. */
import { spawnSync } from "node:child_process";
import { ensureDebianProgram } from "./debian-program.mjs";

const LOOK_MS = 10_000;

/** Where tests look, see test/support/compose.ts. */
export async function ensureCompose() {
  await ensureDebianProgram({
    program: "docker-compose",
    folder: "compose",
    isThere: hasPlugin,
    skipped: "tests of deploy/compose",
  });
}

/** The second version: the first knows nothing of services that end. */
function hasPlugin() {
  const look = spawnSync("docker", ["compose", "version"], { stdio: "ignore", timeout: LOOK_MS });
  return look.status === 0;
}
