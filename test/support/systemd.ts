/** The units of deploy/systemd, installed below a folder of a test's own instead of at the root, and their commands run as they stand there. */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { findNatsServer } from "../../deploy/nats/find-server.ts";
import { startTethered, type TetheredChild } from "../../deploy/nats/tether.ts";
import { atMost } from "../../runtime/at-most.ts";
import { systemClock } from "../../runtime/clock.ts";
import { ROOT } from "./source.ts";

type Variables = Readonly<Record<string, string>>;

export interface InstalledUnits extends AsyncDisposable {
  /** Runs shell commands as docs/operations.md has them. Rejects with what they said when one fails. */
  install(commands: string): Promise<string>;
  /** Runs the unit's ExecStart with what its EnvironmentFile says, and `more`, which is the test's own (ports). */
  start(unit: string, more: Variables): Promise<TetheredChild>;
  /** Runs one that ends, to its end, with its credentials and its state's folder as systemd gives them. Rejects with what it said. */
  once(unit: string, more: Variables): Promise<{ readonly said: string; readonly state: string }>;
}

interface Unit {
  /** Of the first line that sets it. */
  readonly value: (name: string) => string;
  readonly environment: readonly string[];
}

const run = promisify(execFile);
const INSTALL_MS = 60_000;
const STOP_MS = 20_000;
const CACHE_DIR = join(ROOT, ".berth", "cache");

export async function installUnits(): Promise<InstalledUnits> {
  const root = await mkdtemp(join(tmpdir(), "berth-systemd-"));
  const etc = join(root, "etc", "berth");
  await mkdir(join(root, "var", "lib"), { recursive: true });
  await cp(join(ROOT, "deploy", "nats", "configurations"), join(etc, "nats"), { recursive: true });
  for (const name of ["nats", "node", "gateway", "backup"])
    await cp(join(ROOT, "deploy", "systemd", `${name}.env`), join(etc, `${name}.env`));
  const { binary } = await findNatsServer({ cacheDir: CACHE_DIR });
  const berth = `${process.execPath} ${join(ROOT, "deploy", "bin", "berth.mjs")}`;
  /** Paths as they are here. */
  const here = (text: string) =>
    text
      .replaceAll("/usr/local/bin/nats-server", binary)
      .replaceAll("/usr/local/bin/berth", berth)
      .replaceAll("/etc/berth", etc)
      .replaceAll("/var/lib/", `${join(root, "var", "lib")}/`);
  const readUnit = async (unit: string, more: Variables): Promise<Unit> => {
    const text = await readFile(join(ROOT, "deploy", "systemd", `${unit}.service`), "utf8");
    const value = (name: string) => new RegExp(`^${name}=(.*)$`, "m").exec(text)?.[1] ?? "";
    const environment = here(await readFile(here(value("EnvironmentFile")), "utf8"));
    const pairs = environment.split("\n").filter((line) => /^[A-Z]/.test(line));
    const own = Object.entries(more).map(([name, given]) => `${name}=${given}`);
    return { value, environment: [...pairs, ...own] };
  };
  const children: TetheredChild[] = [];
  return {
    async install(commands) {
      const script = here(commands.replaceAll(/\bberth (?=nats|vault|operator-key)/g, `${berth} `));
      const { stdout } = await run("/bin/sh", ["-euc", script], { timeout: INSTALL_MS });
      return stdout;
    },
    async start(unit, more) {
      const { environment, value } = await readUnit(unit, more);
      const command = here(value("ExecStart")).split(" ");
      const lock = join(root, `${unit}.lock`);
      const child = startTethered("env", [...environment, ...command], lock);
      children.push(child);
      return child;
    },
    async once(unit, more) {
      const { environment, value } = await readUnit(unit, more);
      const state = here(`/var/lib/${value("StateDirectory")}`);
      const credentials = join(root, `${unit}.credentials`);
      await mkdir(credentials);
      await mkdir(state, { recursive: true });
      const [name = "", from = ""] = value("LoadCredential").split(":");
      await cp(here(from), join(credentials, name));
      const given = [`STATE_DIRECTORY=${state}`, `CREDENTIALS_DIRECTORY=${credentials}`];
      const [, script = ""] = /^\/bin\/sh -ec '(.*)'$/.exec(value("ExecStart")) ?? [];
      // As systemd reads its lines.
      const command = here(script.replaceAll("$$", "$").replaceAll("%%", "%"));
      const args = [...environment, ...given, "/bin/sh", "-ec", command];
      const { stdout } = await run("env", args, { timeout: INSTALL_MS });
      return { said: stdout, state };
    },
    async [Symbol.asyncDispose]() {
      for (const child of children.toReversed()) {
        child.kill("SIGTERM");
        await atMost(systemClock, STOP_MS, child.exited);
        child.kill("SIGKILL");
        await child.exited;
      }
      await rm(root, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
