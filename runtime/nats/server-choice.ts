/**
 * Which server of a cluster a connection goes to next. The client library tries first the one that it has just lost,
 * and forgets a server that was away when it connected for the first time. Both keep us from a cluster that is well.
 */
import type { NatsConnection, Server } from "@nats-io/transport-node";

export class ServerChoice {
  /** As `host:port`. */
  readonly #hosts: readonly string[];
  /** The server that the connection is on; undefined once another was tried. */
  #present: string | undefined;

  constructor(hosts: readonly string[]) {
    this.#hosts = hosts;
  }

  /** Option `reconnectToServer` of the client: any other server first, then its own rotation (null). */
  readonly next = (pool: readonly Server[]): Server | null => {
    const left = this.#present;
    this.#present = undefined;
    if (left === undefined) return null;
    const others = pool.filter(({ listen }) => listen !== left);
    return others.toSorted((a, b) => a.lastConnect - b.lastConnect)[0] ?? null;
  };

  /** Call it once the first connection stands. */
  complete(nc: NatsConnection): void {
    const known = nc.getServers().map(({ listen }) => listen);
    const missing = this.#hosts.filter((host) => !known.includes(host));
    if (missing.length > 0) nc.setServers([...known, ...missing]);
    this.connected(nc);
  }

  connected(nc: NatsConnection): void {
    this.#present = nc.getServer();
  }
}
