/** Ports for servers that a test kills and starts again: nobody may take one while its server is down. */
import { choosePort } from "../../deploy/ports.ts";

/** Below those that systems give to outgoing connections. */
const PORTS = { from: 10_000, count: 20_000 } as const;

export function freePort(name: string): Promise<number> {
  const port = PORTS.from + Math.floor(Math.random() * PORTS.count);
  return choosePort({ name, host: "127.0.0.1", port, isExplicit: false });
}
