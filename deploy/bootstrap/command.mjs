/** Runs other programs to their end, bounded in time; what they print goes to our own output. */
import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { ROOT } from "./place.mjs";

/** A failure that is told in one sentence, without a stack. */
export class SetupError extends Error {}

/**
 * Resolves with the exit code; null when the program does not exist, was killed, or took too long.
 * Options: `timeoutMs` (required), `cwd`, `env` (added to ours), `quiet` (its standard output is dropped), `isMain` (a
 * signal to us is for it, and we live until it has ended).
 */
export function run(
  command,
  args,
  { timeoutMs, cwd = ROOT, env = {}, quiet = false, isMain = false },
) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ["ignore", quiet ? "ignore" : "inherit", "inherit"],
      timeout: timeoutMs,
      killSignal: "SIGKILL",
    });
    const release = isMain ? passSignals(child) : () => undefined;
    const end = (code) => {
      release();
      resolve(code);
    };
    child.once("error", () => end(null));
    child.once("close", end);
  });
}

/** A terminal sends its Ctrl-C to both of us. */
function passSignals(child) {
  const pass = () => child.kill("SIGTERM");
  const hold = () => undefined;
  process.on("SIGTERM", pass).on("SIGINT", hold);
  return () => process.off("SIGTERM", pass).off("SIGINT", hold);
}

/** As `run`, but anything other than success throws `SetupError` with `sentence`. */
export async function mustRun(command, args, options, sentence) {
  const code = await run(command, args, options);
  if (code !== 0) throw new SetupError(sentence);
}

/** Whether one of these programs is on the PATH. */
export function isInstalled(...names) {
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return names.some((name) => folders.some((folder) => isExecutable(join(folder, name))));
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Runs a script's main function: a `SetupError` ends it with its sentence, anything else with a stack. */
export async function runMain(main) {
  try {
    await main();
  } catch (thrown) {
    console.error(thrown instanceof SetupError ? thrown.message : thrown);
    process.exit(1);
  }
}
