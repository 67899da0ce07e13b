import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { connect } from "@nats-io/transport-node";
import { describe, expect, it } from "vitest";
import { findNatsServer } from "../../../deploy/nats/find-server.ts";
import { NatsServer } from "../../../deploy/nats/server.ts";
import { readServerInfo } from "../../../deploy/nats/server-info.ts";
import { choosePort } from "../../../deploy/ports.ts";
import { systemClock } from "../../../runtime/clock.ts";
import type { Logger } from "../../../runtime/logger.ts";
import { eventually } from "../../support/eventually.ts";
import { startNats } from "../../support/nats.ts";

const ROOT = new URL("../../../", import.meta.url).pathname;
const OWNER = join(ROOT, "test/support/programs/nats-owner.ts");

async function place() {
  const { binary } = await findNatsServer({ cacheDir: join(ROOT, ".berth/cache") });
  const dataDir = await mkdtemp(join(tmpdir(), "berth-owner-"));
  const port = await choosePort({ name: "nats", host: "127.0.0.1", port: 0, isExplicit: false });
  return {
    binary,
    dataDir,
    port,
    [Symbol.asyncDispose]: () => rm(dataDir, { recursive: true, force: true, maxRetries: 5 }),
  };
}
type Place = Awaited<ReturnType<typeof place>>;

/** Starts a process that owns a nats-server; resolves with what it said. */
async function startOwner({ binary, dataDir, port }: Place) {
  const child = spawn(process.execPath, ["--import", "tsx", OWNER, binary, dataDir, String(port)], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface(child.stdout), "line")) as [string];
  const said = JSON.parse(line) as { pid?: number; code?: string };
  return {
    said,
    natsPid: said.pid ?? 0,
    kill: () => child.kill("SIGKILL"),
    [Symbol.dispose]: () => {
      child.kill("SIGKILL");
    },
  };
}

/** Signals one process, never a group: 0 and negative numbers mean many. */
function signal(pid: number | undefined, name: NodeJS.Signals): void {
  if (pid === undefined || pid <= 1) throw new Error(`no process to signal: ${pid}`);
  process.kill(pid, name);
}

/** A zombie is gone: it holds nothing. */
function isAlive(pid: number): boolean {
  try {
    return !/^\S+ \(.*\) Z/.test(
      execFileSync("cat", [`/proc/${pid}/stat`], { stdio: "pipe" }).toString(),
    );
  } catch {
    return false;
  }
}

/** The watcher is the other process of the server's group. */
function watcherOf(pid: number): number {
  const lines = execFileSync("ps", ["-eo", "pid=,pgid=,stat="]).toString().trim().split("\n");
  const found = lines
    .map((line) => line.trim().split(/\s+/))
    .find(
      ([other, group, state]) =>
        Number(group) === pid && Number(other) !== pid && !state?.startsWith("Z"),
    );
  return Number(found?.[0] ?? 0);
}

describe("tether", () => {
  it("a nats-server ends within two seconds when its owner is killed, not when somebody notices", async () => {
    await using here = await place();
    using owner = await startOwner(here);
    expect(isAlive(owner.natsPid)).toBe(true);
    owner.kill();
    await eventually(() => !isAlive(owner.natsPid), { within: 2_000, name: "nats-server gone" });
    await eventually(() => watcherOf(owner.natsPid) === 0, { within: 2_000, name: "watcher gone" });
  });

  it("a hung nats-server is killed too when its owner dies", async () => {
    await using here = await place();
    using owner = await startOwner(here);
    signal(owner.natsPid, "SIGSTOP");
    owner.kill();
    await eventually(() => !isAlive(owner.natsPid), { within: 3_000, name: "nats-server gone" });
  });

  it("killing the watcher first does not leave a nats-server behind when the owner follows", async () => {
    await using here = await place();
    using owner = await startOwner(here);
    const first = owner.natsPid;
    signal(watcherOf(first), "SIGKILL");
    await eventually(() => !isAlive(first), { within: 2_000, name: "unwatched server gone" });
    await eventually(async () => (await readServerInfo(here.port)) !== undefined, {
      name: "restarted",
    });
    owner.kill();
    await eventually(async () => (await readServerInfo(here.port)) === undefined, {
      within: 3_000,
      name: "restarted server gone",
    });
  });

  it("a killed owner's successor gets the same store, once the old server has let go of it", async () => {
    await using here = await place();
    using first = await startOwner(here);
    first.kill();
    using second = await startOwner(here);
    expect(second.said.pid).toBeGreaterThan(0);
    expect(second.natsPid).not.toBe(first.natsPid);
  });
});

describe("NatsServer", () => {
  const collecting = (lines: string[]): Logger => {
    const take = (_: object, message: string) => void lines.push(message);
    return { debug: take, info: take, warn: take, error: take, child: () => collecting(lines) };
  };

  it("a killed server is restarted on the same port and store, and the restart is logged", async () => {
    await using here = await place();
    const lines: string[] = [];
    await using server = await NatsServer.start(
      { clock: systemClock, logger: collecting(lines) },
      here,
    );
    const first = server.pid;
    signal(first, "SIGKILL");
    await eventually(() => server.restarts === 1 && server.pid !== undefined, { name: "restart" });
    await eventually(() => lines.includes("nats-server is back"), { name: "log line" });
    expect(server.pid).not.toBe(first);
    expect(lines).toContain("nats-server died, restarting");
    const nc = await connect({
      servers: `127.0.0.1:${here.port}`,
    });
    await nc.close();
  });

  it("a second server on a data directory in use is refused, not started on another port", async () => {
    await using here = await place();
    using first = await startOwner(here);
    expect(first.said.pid).toBeGreaterThan(0);
    const port = await choosePort({ name: "nats", host: "127.0.0.1", port: 0, isExplicit: false });
    using second = await startOwner({ ...here, port });
    expect(second.said.code).toBe("setup.in_use");
  });

  it("a port that is taken fails with the server's own words, at once", async () => {
    await using nats = await startNats();
    await using here = await place();
    await expect(
      NatsServer.start(
        { clock: systemClock, logger: collecting([]) },
        { ...here, port: nats.port },
      ),
    ).rejects.toMatchObject({ code: "broker.unavailable", message: /address already in use/ });
  });

  it("stopping while a restart is under way leaves no server, whichever comes first", async () => {
    for (const step of [0, 1, 2, 3]) {
      await using here = await place();
      const server = await NatsServer.start(
        { clock: systemClock, logger: collecting([]) },
        { ...here, syncInterval: "always" },
      );
      signal(server.pid, "SIGKILL");
      // Each step is another moment: at the death, in the pause, at the start, when it is back.
      const reached = [
        true,
        () => server.pid === undefined,
        () => server.restarts === 1,
        () => server.restarts === 1 && server.pid !== undefined,
      ][step];
      if (typeof reached === "function") await eventually(reached, { name: `step ${step}` });
      await server.stop();
      expect(server.pid).toBeUndefined();
      expect(await readServerInfo(here.port)).toBeUndefined();
    }
  });

  it("it listens on loopback alone", async () => {
    await using nats = await startNats();
    expect(await readFile(join(nats.dataDir, "nats.conf"), "utf8")).toContain(
      `listen: "127.0.0.1:${nats.port}"`,
    );
  });
});
