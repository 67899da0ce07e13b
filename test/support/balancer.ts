/**
 * A load balancer as one stands before gateways: it asks each for its health, passes connections to one that is well, and to
 * another when that one refuses. What a client loses with a gateway that goes it gets again by itself.
 */
import { once } from "node:events";
import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";
import { systemClock } from "../../runtime/clock.ts";

const EVERY_MS = 500;
const ASK_MS = 1_000;
const CONNECT_MS = 1_000;

export interface Balancer extends AsyncDisposable {
  readonly url: string;
}

/** `find` tells the addresses that there are now; all listen on `port`. */
export async function startBalancer(
  find: () => Promise<readonly string[]>,
  port: number,
): Promise<Balancer> {
  let well: readonly string[] = [];
  let turn = 0;
  const look = async () => {
    const all = await find();
    const states = await Promise.all(all.map((address) => isReady(`http://${address}:${port}`)));
    well = all.filter((_, at) => states[at]);
  };
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    turn += 1;
    const order = well.map((_, at) => well[(at + turn) % well.length] ?? "");
    void pass(near, order, port, sockets);
  });
  const stop = new AbortController();
  const looking = (async () => {
    while (!stop.signal.aborted) {
      await look().catch(() => undefined);
      await systemClock.sleep(EVERY_MS, stop.signal).catch(() => undefined);
    }
  })();
  server.listen({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await looking;
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

async function isReady(url: string): Promise<boolean> {
  const signal = AbortSignal.timeout(ASK_MS);
  return await fetch(`${url}/readyz`, { signal }).then(
    ({ ok }) => ok,
    () => false,
  );
}

async function pass(
  near: Socket,
  order: readonly string[],
  port: number,
  sockets: Set<Socket>,
): Promise<void> {
  near.on("error", () => {});
  sockets.add(near);
  near.once("close", () => sockets.delete(near));
  for (const host of order) {
    const far = await dial(host, port);
    if (far === undefined) continue;
    sockets.add(far);
    far.on("error", () => {});
    far.once("close", () => {
      sockets.delete(far);
      near.destroySoon();
    });
    near.once("close", () => far.destroySoon());
    near.pipe(far).pipe(near);
    return;
  }
  near.resetAndDestroy();
}

function dial(host: string, port: number): Promise<Socket | undefined> {
  const far = createConnection({ host, port, timeout: CONNECT_MS });
  return new Promise((resolve) => {
    far.once("connect", () => {
      far.setTimeout(0);
      resolve(far);
    });
    for (const event of ["error", "timeout"]) {
      far.once(event, () => {
        far.destroy();
        resolve(undefined);
      });
    }
  });
}
