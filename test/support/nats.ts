/** A real nats-server of its own for a test file: a free port, a temporary store, gone at the end. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findNatsServer } from "../../deploy/nats/find-server.ts";
import { NatsServer } from "../../deploy/nats/server.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { freePort } from "./free-port.ts";

export interface TestNats extends AsyncDisposable {
  readonly port: number;
  /** With the platform's password in it when the server authorizes. */
  readonly url: string;
  /** With the workers' password in it when the server authorizes. */
  readonly workerUrl: string;
  readonly dataDir: string;
  readonly pid: number | undefined;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** Starts it again on the same port and store, after a `kill` or instead of it. */
  restart(): Promise<void>;
}

const CACHE_DIR = new URL("../../.berth/cache", import.meta.url).pathname;

/** By default anybody may do everything on it; `authorize` generates the users and permissions of production. */
export async function startNats(options: { readonly authorize?: boolean } = {}): Promise<TestNats> {
  const { binary } = await findNatsServer({ cacheDir: CACHE_DIR });
  const dataDir = await mkdtemp(join(tmpdir(), "berth-nats-"));
  const port = await freePort("nats");
  const start = () =>
    NatsServer.start(
      { clock: systemClock, logger: silentLogger },
      { binary, dataDir, port, authorize: options.authorize ?? false, restart: false },
    );
  let server = await start();
  const kill = async () => {
    if (server.pid !== undefined) process.kill(server.pid, "SIGKILL");
    await server.stop();
  };
  return {
    port,
    url: server.platformUrl,
    workerUrl: server.workerUrl,
    dataDir,
    get pid() {
      return server.pid;
    },
    kill,
    async restart() {
      await kill();
      server = await start();
    },
    async [Symbol.asyncDispose]() {
      await server.stop();
      await rm(dataDir, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
