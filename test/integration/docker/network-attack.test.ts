/** Each container of the matrix tries to reach each other one, and every door that a host has, on real networks. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { NetworkOwner, Networks } from "../../../executor/drivers/docker/networks.ts";
import { allows, type Principal, type Probe } from "../../../protocols/isolation.ts";
import { ISOLATION_POLICY } from "../../../protocols/isolation-policy.ts";
import { describeDocker } from "../../support/docker.ts";
import { CONTAINERS, nameOf, probes } from "../../support/isolation-matrix.ts";
import { type Place, tryPlaces } from "../../support/reach.ts";
import {
  DOOR_PORT,
  type TestWorker,
  WORKER_PORT,
  type WorkerNetworks,
  workerNetworks,
} from "../../support/worker-networks.ts";

function networkOf({ tenant, user }: Principal): NetworkOwner {
  if (tenant === undefined) return { kind: "shared" };
  return user === undefined ? { kind: "tenant", tenant } : { kind: "user", tenant, user };
}

describeDocker("containers of the matrix", () => {
  let rig: WorkerNetworks;
  let networks: Networks;
  let broker: ReturnType<typeof createTcpServer>;
  let service: Server;
  const workers = new Map<Principal, TestWorker>();
  const portOf = (server: { address(): unknown }) => (server.address() as AddressInfo).port;

  beforeAll(async () => {
    broker = createTcpServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
    // On all addresses of the host, as many services are.
    service = createServer((_, response) => response.end("host")).listen(0, "0.0.0.0");
    await Promise.all([once(broker, "listening"), once(service, "listening")]);
    rig = workerNetworks(() => [{ host: "127.0.0.1", port: portOf(broker) }]);
    networks = await rig.open();
    for (const principal of CONTAINERS)
      workers.set(
        principal,
        await rig.startWorker(networks, networkOf(principal), { internet: false }),
      );
  }, 120_000);
  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    broker?.close();
    service?.close();
  });

  /** Undefined: what another test attacks (the egress proxy, the internet), or oneself. */
  function placeOf({ principal, resource: { kind, owner } }: Probe): Place | undefined {
    const host = workers.get(principal)!.network.gateway;
    if (kind === "broker") return { host, port: DOOR_PORT };
    if (kind === "api" || kind === "host") return { host, port: portOf(service) };
    if (kind === "metadata") return { host: "169.254.169.254", port: 80 };
    const other = workers.get(owner);
    if (kind !== "container" || other === undefined || owner === principal) return undefined;
    return { host: other.address, port: WORKER_PORT };
  }

  test.each(CONTAINERS.map((principal) => [principal.id, principal] as const))(
    "%s reaches what the policy says, and nothing else",
    async (id, principal) => {
      const tried = probes().flatMap((probe) => {
        if (probe.principal !== principal || probe.action !== "connect") return [];
        const place = placeOf(probe);
        return place === undefined ? [] : [{ probe, place }];
      });
      const places = tried.map(({ place }) => place);
      const answers = await tryPlaces(workers.get(principal)!, places);
      const differences = tried.flatMap(({ probe }, at) =>
        answers[at] === allows(ISOLATION_POLICY, probe)
          ? []
          : [`the network ${answers[at] ? "lets" : "refuses"}: ${nameOf(probe)}`],
      );
      process.stdout.write(`${id}: ${tried.length} places tried\n`);
      expect(differences).toEqual([]);
      expect(tried.length).toBeGreaterThanOrEqual(CONTAINERS.length + 2);
    },
  );
});
