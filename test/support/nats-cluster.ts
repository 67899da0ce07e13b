/**
 * Three nats-servers on loopback that form one JetStream cluster, for tests that kill, pause and cut them off.
 *
 * Invariants:
 * N1 Servers reach one another through proxies alone, one per direction and pair: they advertise a route address
 *    that nobody answers at, so that none finds a way around a cut.
 * N2 Clients that come over a `Link` reach servers through proxies of that link alone: servers advertise no
 *    client addresses.
 * N3 A server outlives neither its cluster nor our process (tether T2). Its store lives as long as the cluster.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findNatsServer } from "../../deploy/nats/find-server.ts";
import { startTethered, type TetheredChild } from "../../deploy/nats/tether.ts";
import { eventually } from "./eventually.ts";
import { freePort } from "./free-port.ts";
import { type Cut, TcpProxy } from "./tcp-proxy.ts";

export const SERVERS = ["s1", "s2", "s3"] as const;
export type ServerName = (typeof SERVERS)[number];

/** One client's own way to all three servers. */
export interface Link extends AsyncDisposable {
  readonly url: string;
  /** From all servers, or from the named one. */
  cut(how: Cut, server?: ServerName): void;
  heal(): void;
}

export interface TestNatsCluster extends AsyncDisposable {
  /** All three, directly. */
  readonly url: string;
  /** Undefined while it is down. */
  pid(server: ServerName): number | undefined;
  link(): Promise<Link>;
  /** SIGKILL; resolves when the process is gone. */
  kill(server: ServerName): Promise<void>;
  /** On the same ports and store, after a `kill`; resolves when it answers, which is before it has caught up. */
  start(server: ServerName): Promise<void>;
  /** SIGSTOP. */
  pause(server: ServerName): void;
  /** SIGCONT. */
  resume(server: ServerName): void;
  /** Cuts a server from the other two; clients still reach it. */
  isolate(server: ServerName, how: Cut): void;
  /** Heals every cut between servers. */
  heal(): void;
  /** Resolves when all three are up, agree on a leader, and every stream and consumer has caught up. */
  healthy(withinMs?: number): Promise<void>;
}

interface Server {
  readonly name: ServerName;
  readonly port: number;
  readonly clusterPort: number;
  readonly monitorPort: number;
  readonly folder: string;
  child: TetheredChild | undefined;
}

const CACHE_DIR = new URL("../../.berth/cache", import.meta.url).pathname;
const HEALTHY_MS = 60_000;
const START_MS = 30_000;
const ANSWER_MS = 2_000;
const STOP_MS = 3_000;

export async function startNatsCluster(): Promise<TestNatsCluster> {
  const { binary } = await findNatsServer({ cacheDir: CACHE_DIR });
  const root = await mkdtemp(join(tmpdir(), "berth-nats-cluster-"));
  const servers: Server[] = [];
  for (const name of SERVERS) {
    servers.push({
      name,
      port: await freePort(`${name} client`),
      clusterPort: await freePort(`${name} cluster`),
      monitorPort: await freePort(`${name} monitor`),
      folder: join(root, name),
      child: undefined,
    });
  }
  const cluster = new NatsCluster(binary, root, servers);
  try {
    await cluster.open();
  } catch (thrown) {
    await cluster[Symbol.asyncDispose]();
    throw thrown;
  }
  return cluster;
}

class NatsCluster implements TestNatsCluster {
  readonly #binary: string;
  readonly #root: string;
  readonly #servers: readonly Server[];
  /** By `from>to`. */
  readonly #routes = new Map<string, TcpProxy>();
  readonly #links = new Set<Link>();

  constructor(binary: string, root: string, servers: readonly Server[]) {
    this.#binary = binary;
    this.#root = root;
    this.#servers = servers;
  }

  get url(): string {
    return this.#servers.map(({ port }) => `nats://127.0.0.1:${port}`).join(",");
  }

  async open(): Promise<void> {
    for (const from of this.#servers) {
      for (const to of this.#servers.filter((other) => other !== from))
        this.#routes.set(`${from.name}>${to.name}`, await TcpProxy.start(to.clusterPort));
      await mkdir(from.folder, { recursive: true });
      await writeFile(join(from.folder, "nats.conf"), this.#config(from));
    }
    await Promise.all(SERVERS.map((name) => this.start(name)));
    await this.healthy();
  }

  #config({ name, port, clusterPort, monitorPort, folder }: Server): string {
    const routes = [...this.#routes]
      .filter(([key]) => key.startsWith(`${name}>`))
      .map(([, proxy]) => `"nats-route://127.0.0.1:${proxy.port}"`);
    return `
server_name: ${name}
listen: "127.0.0.1:${port}"
http: "127.0.0.1:${monitorPort}"
log_file: ${JSON.stringify(join(folder, "nats-server.log"))}
ping_interval: "2s"
ping_max: 2
jetstream { store_dir: ${JSON.stringify(join(folder, "store"))} }
cluster {
  name: berth
  listen: "127.0.0.1:${clusterPort}"
  # Nobody answers there (N1).
  advertise: "127.0.0.1:1"
  no_advertise: true
  routes: [${routes.join(", ")}]
}
`;
  }

  #server(name: ServerName): Server {
    return this.#servers.find((server) => server.name === name)!;
  }

  pid(name: ServerName): number | undefined {
    const { child } = this.#server(name);
    return child?.hasExited() === false ? child.pid : undefined;
  }

  async link(): Promise<Link> {
    const proxies = new Map<ServerName, TcpProxy>();
    for (const { name, port } of this.#servers) proxies.set(name, await TcpProxy.start(port));
    const link: Link = {
      url: [...proxies.values()].map((proxy) => `nats://127.0.0.1:${proxy.port}`).join(","),
      cut(how, server) {
        for (const [name, proxy] of proxies)
          if (server === undefined || server === name) proxy.cut(how);
      },
      heal() {
        for (const proxy of proxies.values()) proxy.heal();
      },
      [Symbol.asyncDispose]: async () => {
        this.#links.delete(link);
        await Promise.all([...proxies.values()].map((proxy) => proxy[Symbol.asyncDispose]()));
      },
    };
    this.#links.add(link);
    return link;
  }

  async kill(name: ServerName): Promise<void> {
    const { child } = this.#server(name);
    child?.kill("SIGKILL");
    await child?.exited;
  }

  async start(name: ServerName): Promise<void> {
    const server = this.#server(name);
    if (this.pid(name) !== undefined) return;
    const { folder } = server;
    const child = startTethered(
      this.#binary,
      ["-c", join(folder, "nats.conf")],
      join(folder, "nats.lock"),
    );
    server.child = child;
    await eventually(() => child.hasExited() || monitor(server, "/varz"), {
      name: `nats-server ${name} answers`,
      within: START_MS,
    });
    if (!child.hasExited()) return;
    const log = await readFile(join(folder, "nats-server.log"), "utf8").catch(() => "");
    throw new Error(`nats-server ${name} ended: ${child.said()} ${log.slice(-1_000)}`);
  }

  pause(name: ServerName): void {
    this.#server(name).child?.kill("SIGSTOP");
  }

  resume(name: ServerName): void {
    this.#server(name).child?.kill("SIGCONT");
  }

  isolate(name: ServerName, how: Cut): void {
    for (const [key, proxy] of this.#routes) if (key.split(">").includes(name)) proxy.cut(how);
  }

  heal(): void {
    for (const proxy of this.#routes.values()) proxy.heal();
  }

  async healthy(withinMs = HEALTHY_MS): Promise<void> {
    const check = async () => {
      const leaders = await Promise.all(this.#servers.map((server) => leaderSeenBy(server)));
      const [leader] = leaders;
      if (!leader || leaders.some((seen) => seen !== leader))
        throw new Error(`leaders seen: ${leaders.join(", ")}`);
    };
    await eventually(check, { name: "the nats cluster is healthy", within: withinMs });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#servers.map((server) => stop(server)));
    for (const link of this.#links) await link[Symbol.asyncDispose]();
    for (const proxy of this.#routes.values()) await proxy[Symbol.asyncDispose]();
    await rm(this.#root, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** The store is thrown away, so that nothing is gained by a slow end. */
async function stop({ child }: Server): Promise<void> {
  child?.kill("SIGKILL");
  const bound = AbortSignal.timeout(STOP_MS);
  const late = new Promise<void>((resolve) => {
    bound.addEventListener("abort", () => resolve());
  });
  if (child) await Promise.race([child.exited, late]);
}

interface JetStreamState {
  readonly meta_cluster?: { readonly leader?: string; readonly replicas?: readonly object[] };
}

/** The leader of the cluster; throws while the server is not healthy or sees fewer than three. */
async function leaderSeenBy(server: Server): Promise<string | undefined> {
  await monitor(server, "/healthz");
  const { meta_cluster } = (await monitor(server, "/jsz")) as JetStreamState;
  return meta_cluster?.leader;
}

async function monitor({ name, monitorPort }: Server, path: string): Promise<unknown> {
  const answer = await fetch(`http://127.0.0.1:${monitorPort}${path}`, {
    signal: AbortSignal.timeout(ANSWER_MS),
  });
  if (!answer.ok) throw new Error(`${name}${path}: ${(await answer.text()).slice(0, 200)}`);
  return answer.json();
}
