/** Networks as the engine knows them: its calls, answers and refusals in our words. */
import type Docker from "dockerode";
import { BerthError } from "../../../protocols/errors.ts";
import { type EngineOwner, filterOf, type Labels, partLabels } from "./labels.ts";
import type { Reach } from "./network-names.ts";
import { type Clash, gatewayOf, tryReadClash } from "./subnets.ts";

export interface WorkerNetwork {
  readonly id: string;
  readonly name: string;
  /** The host's address in it, where the door is. */
  readonly gateway: string;
}

export interface NetworkOrder {
  readonly name: string;
  readonly bridge: string;
  readonly subnet: string;
  readonly reach: Reach;
  /** Whether its workers may talk to each other. */
  readonly isCommon: boolean;
  readonly labels: Labels;
}

export class EngineNetworks {
  readonly #engine: Docker;
  readonly #owner: EngineOwner;

  constructor(engine: Docker, owner: EngineOwner) {
    this.#engine = engine;
    this.#owner = owner;
  }

  async find(name: string): Promise<WorkerNetwork | undefined> {
    try {
      return networkOf(await this.#engine.getNetwork(name).inspect());
    } catch (thrown) {
      if (statusOf(thrown) === 404) return undefined;
      throw failureOf(thrown);
    }
  }

  /** Those of this node. */
  async list(): Promise<WorkerNetwork[]> {
    const filters = filterOf(this.#owner, "network");
    return (await this.#engine.listNetworks({ filters }).catch(rethrow)).map(networkOf);
  }

  /** Of all networks of the engine, whoever made them. */
  async subnets(): Promise<string[]> {
    const all = await this.#engine.listNetworks().catch(rethrow);
    return all.flatMap(({ IPAM }) => (IPAM?.Config ?? []).flatMap(({ Subnet }) => Subnet ?? []));
  }

  /** Names of networks that have a container: also one that was never started or has ended. */
  async used(name?: string): Promise<Set<string>> {
    const filters = name === undefined ? {} : { network: [name] };
    const containers = await this.#engine.listContainers({ all: true, filters }).catch(rethrow);
    return new Set(
      containers.flatMap(({ NetworkSettings }) => Object.keys(NetworkSettings.Networks)),
    );
  }

  /** What stands in the way, when something does. */
  async create(order: NetworkOrder): Promise<WorkerNetwork | Clash> {
    const gateway = gatewayOf(order.subnet);
    try {
      const { id } = await this.#engine.createNetwork({
        Name: order.name,
        CheckDuplicate: true,
        Driver: "bridge",
        Internal: order.reach === "closed",
        EnableIPv6: false,
        IPAM: { Driver: "default", Config: [{ Subnet: order.subnet, Gateway: gateway }] },
        Options: {
          "com.docker.network.bridge.name": order.bridge,
          "com.docker.network.bridge.enable_icc": String(order.isCommon),
        },
        Labels: { ...order.labels, ...partLabels(this.#owner, "network") },
      });
      return { id, name: order.name, gateway };
    } catch (thrown) {
      const clash = tryReadClash(statusOf(thrown), String(thrown));
      if (clash === undefined) throw failureOf(thrown);
      return clash;
    }
  }

  /** False when there was none. Rejects while a container of it runs. */
  async remove(name: string): Promise<boolean> {
    try {
      await this.#engine.getNetwork(name).remove();
      return true;
    } catch (thrown) {
      if (statusOf(thrown) === 404) return false;
      throw failureOf(thrown);
    }
  }
}

function networkOf({ Id, Name, IPAM }: Docker.NetworkInspectInfo): WorkerNetwork {
  const gateway = IPAM?.Config?.[0]?.Gateway;
  if (gateway === undefined) {
    throw new BerthError("driver.failed", `network ${Name} has no gateway: it is not one of Berth`);
  }
  return { id: Id, name: Name, gateway };
}

function statusOf(thrown: unknown): number | undefined {
  const { statusCode } = thrown as { statusCode?: unknown };
  return typeof statusCode === "number" ? statusCode : undefined;
}

function failureOf(thrown: unknown): BerthError {
  if (thrown instanceof BerthError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new BerthError("driver.failed", `the engine: ${message}`, { cause: thrown });
}

function rethrow(thrown: unknown): never {
  throw failureOf(thrown);
}
