/** The proxy of a node as pods reach it: part of the composition root. */
import type { Socket } from "node:net";
import { Doorway } from "../executor/drivers/docker/doorway.ts";
import type { KubernetesDriver } from "../executor/drivers/kubernetes/kubernetes.ts";
import { noMetrics } from "../runtime/metrics.ts";
import type { DriverParts } from "./drivers.ts";
import { openEgress } from "./egress.ts";

export interface WayOut {
  /** As workers are told of it. */
  readonly endpoint: { readonly host: string; readonly port: number };
  readonly proxyUrl: (worker: string) => string;
  readonly close: () => Promise<void>;
}

/** Of a node, and of one worker: it may come to any node. */
const CONNECTIONS = 4_096;
const PER_WORKER = 256;
const EVERYWHERE = "0.0.0.0";
const HTTP_PORT = 80;

/** Undefined where workers have no way out. Rejects with `driver.failed` when the port cannot be had. */
export async function openWayOut(
  parts: DriverParts,
  driver: () => KubernetesDriver | undefined,
): Promise<WayOut | undefined> {
  const { config, logger: log } = parts;
  if (config.BERTH_EGRESS_URL === undefined) return undefined;
  const { host: authority, hostname, port } = new URL(config.BERTH_EGRESS_URL);
  const egress = await openEgress({
    ...parts,
    metrics: parts.metrics ?? noMetrics,
    workers: () => {
      const opened = driver();
      return opened && ((worker) => opened.find(worker));
    },
    tenantAt: (address) => driver()?.tenantAt(address),
    placeOf: remoteAddress,
  });
  const doorway = await Doorway.open({
    host: EVERYWHERE,
    port: config.BERTH_DOCKER_PROXY_PORT,
    purpose: "the proxy of workers",
    connections: CONNECTIONS,
    perWorker: PER_WORKER,
    accept: (near) => egress.proxy.accept(near),
    log,
  });
  return {
    endpoint: { host: hostname, port: port === "" ? HTTP_PORT : Number(port) },
    proxyUrl: (worker) => egress.urlFor(worker, authority),
    close: () => doorway.close(),
  };
}

/** All pods come to the same address of a node: what tells them apart is their own. */
function remoteAddress({ remoteAddress: address = "" }: Socket): string {
  return address.replace(/^::ffff:/, "");
}
