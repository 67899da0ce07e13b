/** What every script needs first: packages and a build. Quick when both are there. */
import { ensureBuilt } from "./build.mjs";
import { ensureInstalled } from "./install.mjs";
import { withBootstrapLock } from "./lock.mjs";

export function prepare() {
  return withBootstrapLock(async () => {
    await ensureInstalled();
    await ensureBuilt();
  });
}
