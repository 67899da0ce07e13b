/** The broker of a benchmark, its own, on a free port, with its store in a temporary folder. */
import { findNatsServer } from "../deploy/nats/find-server.ts";
import { NatsServer } from "../deploy/nats/server.ts";
import { systemClock } from "../runtime/clock.ts";
import { silentLogger } from "../runtime/logger.ts";
import { freePort } from "./peers/server-process.ts";
import { CACHE_DIR, type Durability, temporaryFolder } from "./place.ts";
import type { Bench } from "./scenario.ts";

export interface Broker {
  readonly url: string;
  readonly pid: number;
}

/**
 * nats-server as `berth up` starts it, but open to all: its store on disk, synced every two minutes. With a
 * `durability` the store is in memory, or on disk and synced before each answer.
 */
export async function startNats(bench: Bench, durability?: Durability): Promise<Broker> {
  const dataDir = await temporaryFolder(bench, durability);
  const { binary, version } = await findNatsServer({ cacheDir: CACHE_DIR }, bench.say);
  bench.uses(`nats-server ${version}`);
  const port = await freePort("nats");
  const sync = durability === "power" ? { syncInterval: "always" } : {};
  const server = await NatsServer.start(
    { clock: systemClock, logger: silentLogger },
    { binary, dataDir, port, restart: false, ...sync },
  );
  bench.undo(() => server.stop());
  return { url: server.url, pid: server.pid ?? 0 };
}
