/** The brokers that a benchmark talks to, each its own, on a free port, with its store in a temporary folder. */
import { execFile } from "node:child_process";
import { createConnection } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { findNatsServer } from "../deploy/nats/find-server.ts";
import { NatsServer } from "../deploy/nats/server.ts";
import { startTethered } from "../deploy/nats/tether.ts";
import { choosePort } from "../deploy/ports.ts";
import { systemClock } from "../runtime/clock.ts";
import { silentLogger } from "../runtime/logger.ts";
import { CACHE_DIR, temporaryFolder } from "./place.ts";
import type { Bench } from "./scenario.ts";

const READY_TRIES = 200;
const READY_PAUSE_MS = 25;

const freePort = (name: string) =>
  choosePort({ name, host: "127.0.0.1", port: 0, isExplicit: false });

/** nats-server as `berth up` starts it, but without passwords. */
export async function startNats(bench: Bench): Promise<string> {
  const dataDir = await temporaryFolder(bench);
  const { binary, version } = await findNatsServer({ cacheDir: CACHE_DIR }, bench.say);
  bench.uses(`nats-server ${version}`);
  const server = await NatsServer.start(
    { clock: systemClock, logger: silentLogger },
    { binary, dataDir, port: await freePort("nats"), authorize: false, restart: false },
  );
  bench.undo(() => server.stop());
  return server.url;
}

export interface RedisPlace {
  readonly host: string;
  readonly port: number;
}

/** Redis with an append-only file synced each second; undefined where it is not installed. */
export async function startRedis(bench: Bench): Promise<RedisPlace | undefined> {
  const version = await redisVersion();
  if (version === undefined) return undefined;
  bench.uses(`redis ${version}`);
  const place = { host: "127.0.0.1", port: await freePort("redis") };
  const folder = await temporaryFolder(bench);
  const settings = {
    bind: place.host,
    port: String(place.port),
    dir: folder,
    appendonly: "yes",
    appendfsync: "everysec",
    save: "",
  };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  const child = startTethered("redis-server", args, join(folder, "redis.lock"));
  bench.undo(async () => {
    child.kill("SIGTERM");
    await Promise.race([child.exited, systemClock.sleep(5_000)]);
    child.kill("SIGKILL");
  });
  for (let tries = 0; tries < READY_TRIES; tries += 1) {
    if (await accepts(place)) return place;
    if (child.hasExited()) throw new Error(`redis-server ended: ${child.said()}`);
    await systemClock.sleep(READY_PAUSE_MS);
  }
  throw new Error("redis-server does not answer");
}

async function redisVersion(): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)("redis-server", ["--version"], { timeout: 5_000 });
    return /v=(\S+)/.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}

function accepts({ host, port }: RedisPlace): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
