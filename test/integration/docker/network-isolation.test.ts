/** What a worker reaches and what not, attacked from real containers through the real kernel. */
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { afterAll, beforeAll, expect, test } from "vitest";
import { mustRun, runCommand } from "../../../executor/drivers/docker/command.ts";
import { chainName } from "../../../executor/drivers/docker/network-names.ts";
import type { Networks } from "../../../executor/drivers/docker/networks.ts";
import { allows, DOORS, type Door, type Principal } from "../../../protocols/isolation.ts";
import { ISOLATION_POLICY } from "../../../protocols/isolation-policy.ts";
import { describeDocker, docker } from "../../support/docker.ts";
import { eventually } from "../../support/eventually.ts";
import { startNats, type TestNats } from "../../support/nats.ts";
import { type Outside, startOutside } from "../../support/outside.ts";
import { type Place, tryPlaces } from "../../support/reach.ts";
import {
  DOOR_PORT,
  type TestWorker,
  WORKER_PORT,
  type WorkerNetworks,
  workerNetworks,
} from "../../support/worker-networks.ts";

const METADATA = { host: "169.254.169.254", port: 80 };

/** Those of the places that the worker reaches. */
async function reached(worker: TestWorker, places: readonly Place[]): Promise<Place[]> {
  const answers = await tryPlaces(worker, places);
  return places.filter((_, at) => answers[at]);
}

/** Speaks to the broker as a client would, and prints the answers. */
const SPEAK = `
  const socket = require("node:net").connect(Number(process.argv[2]), process.argv[1]);
  let said = "";
  socket.on("data", (chunk) => {
    said += chunk;
    if (said.includes("PONG")) { console.log(said); socket.destroy(); }
  });
  socket.write('CONNECT {"verbose":false}\\r\\nPING\\r\\n');`;

/** Tries to connect again and again for five seconds, eight at a time. */
const PERSIST = `
  const { connect } = require("node:net");
  const [host, port] = process.argv.slice(1);
  const end = Date.now() + 5000;
  let [tries, opened] = [0, 0];
  const once = () => new Promise((resolve) => {
    tries += 1;
    const socket = connect({ host, port: Number(port), timeout: 150 });
    const done = () => { socket.destroy(); setImmediate(resolve); };
    socket.on("connect", () => { opened += 1; done(); }).on("timeout", done).on("error", done);
  });
  const loop = async () => { while (Date.now() < end) await once(); };
  Promise.all(Array.from({ length: 8 }, loop)).then(() => console.log(JSON.stringify({ tries, opened })));`;

const LINES = 60;
/** Sends a numbered line over one connection, and the same as a datagram, every 50 ms: three seconds long. */
const CHATTER = `
  const [host, tcp, udp] = process.argv.slice(1);
  const socket = require("node:net").connect(Number(tcp), host).on("error", () => {});
  const datagrams = require("node:dgram").createSocket("udp4").on("error", () => {});
  let n = 0;
  setInterval(() => {
    n += 1;
    socket.write("line\\n");
    datagrams.send("line\\n", Number(udp), host, () => {});
    if (n === ${LINES}) process.exit();
  }, 50);`;

const hostAddresses = () =>
  Object.values(networkInterfaces()).flatMap((all) =>
    (all ?? []).flatMap(({ family, address, internal }) =>
      family === "IPv4" && !internal ? address : [],
    ),
  );

/** A server on all addresses of the host; what is connected is cut at the end. */
async function listen(
  serve: (socket: Socket) => void,
): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets: Socket[] = [];
  const server = createTcpServer((socket) => {
    sockets.push(socket);
    serve(socket);
  }).listen(0, "0.0.0.0");
  await once(server, "listening");
  return {
    port: portOf(server),
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

const portOf = (server: { address(): unknown }) => (server.address() as AddressInfo).port;

describeDocker("a worker in its network", () => {
  let nats: TestNats;
  let outside: Outside;
  let rig: WorkerNetworks;
  let networks: Networks;
  /** On all addresses of the host, as many services are. */
  let service: Server;
  let datagrams: UdpSocket;
  let workers: Record<"shared1" | "shared2" | "open" | "closed" | "team1" | "team2", TestWorker>;
  const each = <T>(look: (worker: TestWorker) => Promise<T>) =>
    Promise.all(Object.values(workers).map(look));

  beforeAll(async () => {
    [nats, outside] = await Promise.all([startNats(), startOutside()]);
    rig = workerNetworks(() => [{ host: "127.0.0.1", port: nats.port }]);
    networks = await rig.open({ nameservers: async () => [outside.privateAddress] });
    service = createServer((_, response) => response.end("host")).listen(0, "0.0.0.0");
    datagrams = createSocket("udp4").bind(0, "0.0.0.0");
    await Promise.all([once(service, "listening"), once(datagrams, "listening")]);
    const dns = [outside.privateAddress];
    const [ann, bob] = ["ann", "bob"].map(
      (user) => ({ kind: "user", tenant: "acme", user }) as const,
    );
    const team = { kind: "tenant", tenant: "umbrella" } as const;
    workers = {
      shared1: await rig.startWorker(networks, { kind: "shared" }, { dns }),
      shared2: await rig.startWorker(networks, { kind: "shared" }, { dns }),
      open: await rig.startWorker(networks, ann!, { dns }),
      closed: await rig.startWorker(networks, bob!, { dns, internet: false }),
      team1: await rig.startWorker(networks, team, { dns }),
      team2: await rig.startWorker(networks, team, { dns }),
    };
    // The host reaches each: what another worker does not reach is there.
    await each(({ address }) =>
      eventually(async () => (await fetch(`http://${address}:${WORKER_PORT}`)).ok),
    );
  });
  afterAll(async () => {
    service?.close();
    datagrams?.close();
    await rig?.[Symbol.asyncDispose]();
    await outside?.[Symbol.asyncDispose]();
    await nats?.[Symbol.asyncDispose]();
  });

  test("reaches no other worker, by address or by name, in its own network or another; a tenant's own reach each other", async () => {
    const placesOf = ({ name, address }: TestWorker) =>
      [name, address].map((host) => ({ host, port: WORKER_PORT }));
    const { shared1, shared2, team1, team2 } = workers;
    const friendOf = new Map([
      [team1, team2],
      [team2, team1],
    ]);
    const all = Object.values(workers);
    await each(async (worker) => {
      const places = all.filter((other) => other !== worker).flatMap(placesOf);
      const friend = friendOf.get(worker);
      expect(await reached(worker, places)).toEqual(friend === undefined ? [] : placesOf(friend));
    });
    expect(shared1.network).toEqual(shared2.network);
    expect(new Set(all.map(({ network }) => network.name)).size).toBe(4);
  });

  test("reaches nothing of its host but its own network's door, by any address that the host has", async () => {
    const addresses = hostAddresses();
    expect(addresses).toContain(workers.closed.network.gateway);
    const places = addresses.flatMap((host) =>
      [portOf(service), DOOR_PORT].map((port) => ({ host, port })),
    );
    await each(async (worker) => {
      const door = { host: worker.network.gateway, port: DOOR_PORT };
      expect(await reached(worker, places)).toEqual([door]);
    });
  });

  test("finds the broker behind its door, also when its network is closed", async () => {
    await each(async (worker) => {
      const said = await worker.run(SPEAK, worker.network.gateway, String(DOOR_PORT));
      expect(said).toMatch(/^INFO \{[\s\S]*\r\nPONG/);
    });
  });

  test("reaches the internet and nothing else beyond its host, or nothing at all when its network is closed", async () => {
    const { publicAddress, privateAddress, linkLocalAddress, port } = outside;
    const internet = { host: publicAddress, port };
    const rest = [privateAddress, linkLocalAddress].map((host) => ({ host, port }));
    for (const { host } of [internet, ...rest])
      expect(await (await fetch(`http://${host}:${port}`)).text()).toBe("outside");
    await each(async (worker) => {
      const expected = worker === workers.closed ? [] : [internet];
      expect(await reached(worker, [...rest, METADATA, internet])).toEqual(expected);
    });
  });

  // The engine takes the jump to its users' chain away and puts it back whenever a network is made.
  test("reaches no private address in the moments when the engine changes its own rules", async () => {
    const { privateAddress, port } = outside;
    const trying = workers.open.run(PERSIST, privateAddress, String(port));
    const others = Array.from({ length: 12 }, (_, n) => `user-${n}`);
    for (const user of others) {
      const owner = { kind: "user", tenant: "other", user } as const;
      const { name } = await networks.use(owner, { internet: true, labels: {} }, async (it) => it);
      await networks.release(name);
    }
    const { tries, opened } = JSON.parse(await trying) as { tries: number; opened: number };
    expect(tries).toBeGreaterThan(20);
    expect(opened).toBe(0);
  });

  test("reaches no more when the engine's rules let through all that they meet", async () => {
    const { closed, shared1, shared2 } = workers;
    const accepts: string[][] = [];
    for (const { network } of [closed, shared1]) {
      const { Options } = await docker.getNetwork(network.name).inspect();
      const device = Options?.["com.docker.network.bridge.name"] ?? "";
      accepts.push(...["-i", "-o"].map((way) => ["FORWARD", way, device, "-j", "ACCEPT"]));
    }
    const change = async (how: "-I" | "-D") => {
      for (const accept of accepts) await mustRun(runCommand, "iptables", ["-w", how, ...accept]);
    };
    await change("-I");
    try {
      const { privateAddress, publicAddress, port } = outside;
      const internet = { host: publicAddress, port };
      const neighbour = { host: shared2.address, port: WORKER_PORT };
      const places = [neighbour, { host: privateAddress, port }, METADATA, internet];
      expect(await reached(shared1, places)).toEqual([internet]);
      expect(await reached(closed, places)).toEqual([]);
    } finally {
      await change("-D");
    }
  });

  test("resolves names by the host's name server, though that has a private address", async () => {
    const place = { host: "somewhere.example", port: outside.port };
    expect(await reached(workers.open, [place])).toEqual([place]);
    expect(await reached(workers.closed, [place])).toEqual([]);
  });

  test("is reached by nobody from beyond its host, though the host forwards for others", async () => {
    const [host] = hostAddresses().filter((address) => address.startsWith("198.51.100."));
    expect(await outside.reaches(host!, portOf(service))).toBe(true);
    // As what runs virtual machines on the same host does it.
    const forward = ["FORWARD", "-i", outside.device, "-j", "ACCEPT"];
    await mustRun(runCommand, "iptables", ["-w", "-A", ...forward]);
    try {
      await each(async ({ address }) => {
        expect(await outside.reaches(address, WORKER_PORT)).toBe(false);
      });
    } finally {
      await mustRun(runCommand, "iptables", ["-w", "-D", ...forward]);
    }
  });

  test("has no IPv6, by which it would go around all of this", async () => {
    await each(async (worker) => {
      const devices = 'console.log(require("node:fs").readFileSync("/proc/net/if_inet6", "utf8"))';
      expect((await worker.run(devices)).trim()).toBe("");
    });
  });

  test.each(DOORS.filter((kind) => kind !== "egress"))(
    "is let to or kept from a door of kind %s as the policy says",
    async (kind) => {
      const { shared1, closed } = workers;
      const self: Principal = { kind: "container", id: closed.name };
      const owner: Principal =
        kind === "container" ? { kind, id: shared1.name } : { kind: "node", id: rig.owner.node };
      const places: Record<Exclude<Door, "egress">, Place> = {
        broker: { host: closed.network.gateway, port: DOOR_PORT },
        api: { host: closed.network.gateway, port: portOf(service) },
        host: { host: hostAddresses()[0] ?? "127.0.0.1", port: portOf(service) },
        container: { host: shared1.address, port: WORKER_PORT },
        metadata: METADATA,
        internet: { host: outside.publicAddress, port: outside.port },
      };
      const isAllowed = allows(ISOLATION_POLICY, {
        principal: self,
        action: "connect",
        resource: { kind, owner },
      });
      expect((await reached(closed, [places[kind]])).length > 0).toBe(isAllowed);
    },
  );

  test("is kept from its host by Berth's rules alone: open without them, closed again by a sweep, also for what was opened meanwhile", async () => {
    const { closed } = workers;
    const got = { tcp: 0, udp: 0 };
    await using lines = await listen((socket) => {
      socket
        .on("error", () => {})
        .on("data", (chunk) => {
          got.tcp += String(chunk).split("line").length - 1;
        });
    });
    const place = { host: closed.network.gateway, port: lines.port };
    datagrams.on("message", (_, { port, address }) => {
      got.udp += 1;
      // With an answer, it is a conversation in the eyes of the kernel.
      datagrams.send("yes", port, address);
    });
    await mustRun(runCommand, "iptables", ["-w", "-F", chainName(rig.owner, "IN")]);
    const { host, port } = place;
    const chatter = closed.run(CHATTER, host, String(port), String(portOf(datagrams)));
    await eventually(() => got.tcp > 0 && got.udp > 0, { name: "lines arrive" });
    expect(await networks.sweep()).toEqual([]);
    expect(networks.weaknesses).toEqual([]);
    const atReturn = { ...got };
    await chatter;
    expect(got.tcp).toBeLessThan(atReturn.tcp + 5);
    expect(got.udp).toBeLessThan(atReturn.udp + 5);
    expect(atReturn.tcp).toBeLessThan(LINES / 2);
    expect(await reached(closed, [place])).toEqual([]);
  });
});
