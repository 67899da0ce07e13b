/** Redis, for BullMQ. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { temporaryFolder } from "../place.ts";
import type { Bench } from "../scenario.ts";
import { type Address, freePort, LOOPBACK, startServer } from "./server-process.ts";

/** With an append-only file synced each second; undefined where it is not installed. */
export async function startRedis(bench: Bench): Promise<Address | undefined> {
  const version = await redisVersion();
  if (version === undefined) return undefined;
  bench.uses(`redis ${version}`);
  const place = { host: LOOPBACK, port: await freePort("redis") };
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
  await startServer(bench, { name: "redis-server", command: "redis-server", args, folder, place });
  return place;
}

async function redisVersion(): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)("redis-server", ["--version"], { timeout: 5_000 });
    return /v=(\S+)/.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}
