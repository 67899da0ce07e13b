/** Makes sure that the tests find a nats-server, by the same search as `berth up`. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { SetupError } from "./command.mjs";
import { CACHE, DIST, say } from "./place.mjs";

export async function ensureNatsServer() {
  const module = pathToFileURL(join(DIST, "deploy", "nats", "find-server.js")).href;
  const { findNatsServer } = await import(module);
  try {
    await findNatsServer({ cacheDir: CACHE }, say);
  } catch (thrown) {
    throw new SetupError(thrown.message, { cause: thrown });
  }
}
