/**
 * The worker's program as one file, `dist/executor.mjs`: loaded in a third of the time that its modules take, and all that
 * its image needs of ours. The same sources and packages give the same bytes on every machine.
 */
import { join } from "node:path";
import { SetupError } from "./command.mjs";
import { fromRoot, ROOT } from "./place.mjs";

export const BUNDLE = "executor.mjs";

/** Some packages in it still ask for theirs by `require`. */
const REQUIRE =
  'import{createRequire}from"node:module";const require=createRequire(import.meta.url);';

/** Loaded when it is wanted: these scripts run before packages are installed. */
export async function bundleExecutor(folder) {
  const { buildSync, stop } = await import("esbuild");
  try {
    buildSync({
      absWorkingDir: ROOT,
      entryPoints: [fromRoot("executor", "main.ts")],
      outfile: join(folder, BUNDLE),
      bundle: true,
      minify: true,
      platform: "node",
      target: "node20",
      format: "esm",
      banner: { js: REQUIRE },
      logLevel: "warning",
    });
  } catch (thrown) {
    throw new SetupError("The worker's program could not be bundled: see the message above.", {
      cause: thrown,
    });
  } finally {
    await stop(); // Its process would stay for as long as ours.
  }
}
