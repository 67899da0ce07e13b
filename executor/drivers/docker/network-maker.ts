/**
 * Makes networks in an engine: finds addresses that are free, and others when the engine refuses them.
 *
 * Invariants:
 * N3 Two networks that are made at once are given different addresses: those on their way count as taken.
 */
import { networkInterfaces } from "node:os";
import { BerthError } from "../../../protocols/errors.ts";
import type { EngineNetworks, WorkerNetwork } from "./engine-networks.ts";
import type { EngineOwner, Labels } from "./labels.ts";
import {
  bridgeName,
  isCommon,
  type NetworkOwner,
  type Reach,
  subnetSeed,
} from "./network-names.ts";
import { decideSubnet, OWN_PREFIX, SHARED_PREFIX } from "./subnets.ts";

/** Orders that the engine refuses one after the other, until a network is given up. */
const MOST_ORDERS = 64;

export interface NetworkPlan {
  readonly network: NetworkOwner;
  readonly reach: Reach;
  readonly name: string;
  readonly labels: Labels;
}

export class NetworkMaker {
  readonly #engine: EngineNetworks;
  readonly #owner: EngineOwner;
  readonly #range: string;
  /** N3. */
  readonly #asked = new Set<string>();

  constructor(engine: EngineNetworks, owner: EngineOwner, range: string) {
    this.#engine = engine;
    this.#owner = owner;
    this.#range = range;
  }

  /** Rejects with `driver.failed` when the range is full or the engine refuses. */
  async make(plan: NetworkPlan): Promise<WorkerNetwork> {
    const { network, reach, name, labels } = plan;
    const refused: string[] = [];
    let salt = 0;
    for (let orders = 0; orders < MOST_ORDERS; orders += 1) {
      const subnet = await this.#chooseSubnet(plan, refused);
      const bridge = bridgeName(this.#owner, { network, reach, salt });
      const made = await this.#engine
        .create({ name, bridge, subnet, reach, isCommon: isCommon(network), labels })
        .finally(() => this.#asked.delete(subnet));
      if (typeof made !== "string") return made;
      if (made === "subnet") refused.push(subnet);
      else {
        // What a process that died had ordered may have been carried out meanwhile.
        const found = await this.#engine.find(name);
        if (found !== undefined) return found;
        salt += 1;
      }
    }
    throw new BerthError("driver.failed", `the engine refuses network ${name} again and again`);
  }

  async #chooseSubnet(plan: NetworkPlan, refused: readonly string[]): Promise<string> {
    const inUse = await this.#engine.subnets();
    // Nothing is awaited from here on until the choice counts as taken (N3).
    const taken = [...inUse, ...subnetsOfHost(), ...this.#asked, ...refused];
    const prefix = plan.network.kind === "shared" ? SHARED_PREFIX : OWN_PREFIX;
    const subnet = decideSubnet(this.#range, prefix, {
      taken,
      seed: subnetSeed(this.#owner, plan.network, plan.reach),
    });
    if (subnet === undefined) {
      throw new BerthError(
        "driver.failed",
        `no /${prefix} is free in ${this.#range} for a network`,
      );
    }
    this.#asked.add(subnet);
    return subnet;
  }
}

function subnetsOfHost(): string[] {
  return Object.values(networkInterfaces()).flatMap((addresses) =>
    (addresses ?? []).flatMap(({ cidr }) => cidr ?? []),
  );
}
