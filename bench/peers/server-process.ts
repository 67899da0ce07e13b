/** A peer's server as a child that cannot outlive us, once it answers on its port. */
import { createConnection } from "node:net";
import { join } from "node:path";
import { startTethered } from "../../deploy/nats/tether.ts";
import { choosePort } from "../../deploy/ports.ts";
import { systemClock } from "../../runtime/clock.ts";
import type { Bench } from "../scenario.ts";

const READY_MS = 60_000;
const READY_PAUSE_MS = 25;
const STOP_MS = 5_000;

export const LOOPBACK = "127.0.0.1";
export const freePort = (name: string) =>
  choosePort({ name, host: LOOPBACK, port: 0, isExplicit: false });

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface ServerCommand {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Temporary, this server's own. */
  readonly folder: string;
  readonly place: Address;
}

/** Resolves with its process id when it accepts connections; it is stopped with the scenario. */
export async function startServer(bench: Bench, server: ServerCommand): Promise<number> {
  const { args, command, folder, name, place } = server;
  const child = startTethered(command, args, join(folder, "lock"));
  bench.undo(async () => {
    child.kill("SIGTERM");
    await Promise.race([child.exited, systemClock.sleep(STOP_MS)]);
    child.kill("SIGKILL");
  });
  const startedAt = performance.now();
  while (!(await accepts(place))) {
    if (child.hasExited()) throw new Error(`${name} ended: ${child.said()}`);
    if (performance.now() - startedAt > READY_MS) {
      throw new Error(`${name} does not answer: ${child.said()}`);
    }
    await systemClock.sleep(READY_PAUSE_MS);
  }
  return child.pid;
}

function accepts({ host, port }: Address): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
