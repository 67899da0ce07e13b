/** Ports of this machine: the one that was asked for, or in development another that is free. */
import { createServer } from "node:net";
import { BerthError } from "../protocols/errors.ts";

export interface PortWish {
  /** What it is for, as people call it: "gateway". */
  readonly name: string;
  readonly host: string;
  /** 0 takes any. */
  readonly port: number;
  /** Asked for by name: then another port will not do. */
  readonly isExplicit: boolean;
}

/** Ports tried above the wished one before any free one is taken: people remember 8001. */
const NEIGHBOURS = 20;

/** Throws `setup.port_taken` when an explicit port is taken; `report` hears of a port that moved. */
export async function choosePort(
  wish: PortWish,
  report: (line: string) => void = () => {},
): Promise<number> {
  const { name, host, port, isExplicit } = wish;
  if (port !== 0 && (await tryListen(host, port)) !== undefined) return port;
  if (port !== 0 && isExplicit) {
    throw new BerthError("setup.port_taken", `port ${port} of ${host} is taken (${name})`, {
      field: name,
    });
  }
  const neighbours = port === 0 ? [] : Array.from({ length: NEIGHBOURS }, (_, i) => port + 1 + i);
  for (const candidate of [...neighbours, 0]) {
    const free = candidate > 65_535 ? undefined : await tryListen(host, candidate);
    if (free === undefined) continue;
    if (port !== 0) report(`port ${port} is taken: ${name} moves to ${free}`);
    return free;
  }
  throw new BerthError("setup.port_taken", `no port of ${host} is free (${name})`, { field: name });
}

/** The port, if it can be listened on; undefined when not. */
function tryListen(host: string, port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address();
      const free = typeof address === "object" && address !== null ? address.port : undefined;
      server.close(() => resolve(free));
    });
  });
}
