/** nats-servers started from the files of `deploy/nats/configurations/`, each with its own environment, as whoever deploys them does. */
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../deploy/config.ts";
import { accessText } from "../../deploy/nats/access.ts";
import { OperatorKeys } from "../../deploy/nats/auth/operator-keys.ts";
import { findNatsServer } from "../../deploy/nats/find-server.ts";
import { startTethered, type TetheredChild } from "../../deploy/nats/tether.ts";
import { eventually } from "./eventually.ts";
import { freePort } from "./free-port.ts";

type Variables = Readonly<Record<string, string>>;

export interface ConfiguredServer {
  readonly url: string;
  readonly monitorUrl: string;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** On the same ports and store, after a `kill`; resolves when it answers. Accounts are forgotten as a folder in memory forgets them. */
  again(accounts?: "kept" | "forgotten"): Promise<void>;
}

export interface ConfiguredNats extends AsyncDisposable {
  readonly keys: OperatorKeys;
  /** A copy of the files, with `access.conf` beside them. */
  readonly folder: string;
  /** What `defaults.env` says. */
  readonly defaults: Variables;
  start(file: string, name: string, variables: Variables): Promise<ConfiguredServer>;
  /** The server's own check of a file: its exit code and what it says. */
  check(file: string, variables: Variables): Promise<string>;
}

const FILES = new URL("../../deploy/nats/configurations/", import.meta.url).pathname;
const CACHE_DIR = new URL("../../.berth/cache", import.meta.url).pathname;
const START_MS = 20_000;

export async function configuredNats(): Promise<ConfiguredNats> {
  const { binary } = await findNatsServer({ cacheDir: CACHE_DIR });
  const root = await mkdtemp(join(tmpdir(), "berth-nats-conf-"));
  const folder = join(root, "conf");
  await cp(FILES, folder, { recursive: true });
  const auth = join(root, "nats-auth");
  await writeFile(
    join(folder, "access.conf"),
    await accessText(loadConfig({ BERTH_NATS_AUTH: auth })),
  );
  const keys = new OperatorKeys(auth);
  const defaults = readEnvironment(await readFile(join(folder, "defaults.env"), "utf8"));
  const children: TetheredChild[] = [];
  const run = (args: readonly string[], variables: Variables, lock: string) => {
    const pairs = Object.entries({ ...defaults, ...variables }).map(([k, v]) => `${k}=${v}`);
    const child = startTethered("env", [...pairs, binary, ...args], join(root, lock));
    children.push(child);
    return child;
  };
  return {
    ...{ keys, folder, defaults },
    async start(file, name, variables) {
      const home = join(root, name);
      await mkdir(home);
      const port = await freePort(name);
      const monitor = `127.0.0.1:${await freePort(`${name} monitor`)}`;
      const log = join(home, "log");
      const own = {
        NATS_NAME: name,
        NATS_PORT: String(port),
        NATS_MONITOR: monitor,
        NATS_STORE: join(home, "store"),
        NATS_ACCOUNTS: join(home, "accounts"),
      };
      const args = ["-c", join(folder, file), "--log", log];
      const open = async () => {
        const child = run(args, { ...own, ...variables }, `${name}.lock`);
        await eventually(
          async () => {
            if (child.hasExited()) return true;
            return (await fetch(`http://${monitor}/varz`)).ok;
          },
          { name: `${name} answers`, within: START_MS },
        );
        if (!child.hasExited()) return child;
        const said = await readFile(log, "utf8").catch(() => "");
        throw new Error(`${name}: ${child.said()} ${said}`);
      };
      let child = await open();
      return {
        ...{ url: `nats://127.0.0.1:${port}`, monitorUrl: `http://${monitor}` },
        async kill() {
          child.kill("SIGKILL");
          await child.exited;
        },
        async again(accounts = "kept") {
          if (accounts === "forgotten")
            await rm(own.NATS_ACCOUNTS, { recursive: true, force: true });
          child = await open();
        },
      };
    },
    async check(file, variables) {
      const child = run(["-t", "-c", join(folder, file)], variables, `check-${file}.lock`);
      const { code } = await child.exited;
      return `${code}: ${child.said()}`;
    },
    async [Symbol.asyncDispose]() {
      for (const child of children) child.kill("SIGKILL");
      await Promise.all(children.map(({ exited }) => exited));
      await rm(root, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

function readEnvironment(text: string): Variables {
  const pairs = text.split("\n").flatMap((line) => {
    const [, name, value] = /^([A-Z_]+)=(.*)$/.exec(line) ?? [];
    return name === undefined || value === undefined ? [] : [[name, value] as const];
  });
  return Object.fromEntries(pairs);
}
