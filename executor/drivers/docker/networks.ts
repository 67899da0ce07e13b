/**
 * Networks of a node's workers: made when the first worker of an owner comes, each with a door to the broker, removed when
 * nobody is left. The firewall of the host is part of it: without it a network keeps nobody from the host.
 *
 * Invariants:
 * N1 One owner has one network, however many ask at once: finding, making and removing of one name take turns.
 * N2 A network that somebody holds is not removed. Holding begins before the network is looked for and ends after the work.
 *    A removal's turn begins with a look at the holders; whoever comes later looks for the network in a later turn.
 * N3 Two networks that are made at once are given different addresses (network-maker.ts).
 * N4 A network's doors are open before work begins in it, and close after the network is gone.
 */
import type { Socket } from "node:net";
import type Docker from "dockerode";
import { BerthError } from "../../../protocols/errors.ts";
import type { Clock } from "../../../runtime/clock.ts";
import type { Logger } from "../../../runtime/logger.ts";
import { Door, type DoorTarget } from "./door.ts";
import { Doorway } from "./doorway.ts";
import { EngineNetworks, type WorkerNetwork } from "./engine-networks.ts";
import { Firewall } from "./firewall.ts";
import type { EngineOwner, Labels } from "./labels.ts";
import { NetworkMaker, type NetworkPlan } from "./network-maker.ts";
import { type NetworkOwner, networkName, type Reach, reachOf } from "./network-names.ts";
import { Place } from "./network-place.ts";
import { checkRange } from "./subnets.ts";

export type { WorkerNetwork } from "./engine-networks.ts";
export type { NetworkOwner } from "./network-names.ts";

export interface NetworkSettings {
  /** False: it leads nowhere but to the doors. */
  readonly internet: boolean;
  /** Put on a network that is made; one that exists keeps its own. */
  readonly labels: Labels;
}

export interface NetworksOptions {
  readonly engine: Docker;
  readonly owner: EngineOwner;
  /** Range that networks are cut from. */
  readonly subnets: string;
  readonly doorPort: number;
  readonly natsTargets: () => readonly DoorTarget[];
  /** Behind a second door; default: there is none. */
  readonly proxy?: { readonly port: number; readonly accept: (near: Socket) => void };
  readonly clock: Clock;
  readonly log: Logger;
  /** As in `FirewallOptions`. */
  readonly nameservers?: () => Promise<readonly string[]>;
}

/** Connections to the proxy from one network (the proxy gives it fewer while others hold theirs) and from one worker: package managers open many at once. */
const EXITS = { connections: 2_048, perWorker: 128 };
/** Removals at once: the engine takes most of each by turns anyway. */
const REMOVALS = 4;

export class Networks {
  readonly #options: NetworksOptions;
  readonly #engine: EngineNetworks;
  readonly #maker: NetworkMaker;
  readonly #firewall: Firewall;
  readonly #places = new Map<string, Place>();
  #isClosed = false;

  private constructor(options: NetworksOptions) {
    this.#options = options;
    this.#engine = new EngineNetworks(options.engine, options.owner);
    this.#maker = new NetworkMaker(this.#engine, options.owner, options.subnets);
    this.#firewall = new Firewall({ ...options, proxyPort: options.proxy?.port });
  }

  /** Sets the rules of the firewall and opens the doors of networks that live already. Rejects with `config.invalid` or `driver.failed`. */
  static async open(options: NetworksOptions): Promise<Networks> {
    checkRange(options.subnets);
    const networks = new Networks(options);
    await networks.#firewall.ensure();
    await networks.#mendAll(await networks.#engine.list());
    return networks;
  }

  /** What workers can reach although they should not. */
  get weaknesses(): readonly string[] {
    return this.#firewall.weaknesses;
  }

  /** Holds the owner's network while `work` runs, making it first where there is none. Rejects with `driver.failed`, or as `work` does. */
  async use<T>(
    network: NetworkOwner,
    { internet, labels }: NetworkSettings,
    work: (network: WorkerNetwork) => Promise<T>,
  ): Promise<T> {
    const reach = reachOf(internet);
    const name = networkName(this.#options.owner, network, reach);
    const place = this.#place(name);
    place.holders += 1; // N2
    try {
      place.ready ??= place.inTurn(() =>
        this.#ensure({ network, reach, name, labels }, place).finally(() => {
          // Within the turn: nobody shares what a removal may come after (N2).
          place.ready = undefined;
        }),
      );
      return await work(await place.ready);
    } finally {
      place.holders -= 1;
      this.#forget(name, place);
    }
  }

  /**
   * Removes this node's networks that no container is in, running or not, and that nobody holds; resolves with their
   * names. Puts back what else was lost: doors, rules of the firewall. `all`: also the shared ones, which otherwise stay,
   * and the rules when no network is left.
   */
  async sweep(options: { readonly all?: boolean } = {}): Promise<string[]> {
    await this.#firewall.ensure();
    const [networks, used] = await Promise.all([this.#engine.list(), this.#engine.used()]);
    const kept = new Set(options.all === true ? [] : this.#sharedNames());
    const going = networks.filter(({ name }) => !used.has(name) && !kept.has(name));
    const removed: string[] = [];
    const removeRest = async () => {
      for (let next = going.shift(); next !== undefined; next = going.shift()) {
        if (await this.#tryRemove(next.name)) removed.push(next.name);
      }
    };
    await Promise.all(Array.from({ length: REMOVALS }, removeRest));
    const left = networks.filter(({ name }) => !removed.includes(name));
    await this.#mendAll(left);
    if (options.all === true && left.length === 0) await this.#removeRules();
    return removed;
  }

  /** Removes a network now if it is not used. What fails is left to `sweep`. */
  async release(name: string): Promise<void> {
    await this.#tryRemove(name);
  }

  /** Closes the doors. Networks and rules stay, for workers that live on and the process that adopts them. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const places = [...this.#places.values()];
    await Promise.all(places.map((place) => place.inTurn(() => place.closeDoors())));
  }

  async #ensure(plan: NetworkPlan, place: Place): Promise<WorkerNetwork> {
    const network = (await this.#engine.find(plan.name)) ?? (await this.#make(plan));
    await this.#openDoors(network, place); // N4
    return network;
  }

  async #make(plan: NetworkPlan): Promise<WorkerNetwork> {
    // A sweep of all may have taken the rules away with the last network.
    await this.#firewall.ensure();
    return await this.#maker.make(plan);
  }

  async #tryRemove(name: string): Promise<boolean> {
    const place = this.#place(name);
    try {
      return await place.inTurn(() => this.#removeUnused(name, place));
    } catch (error) {
      this.#options.log.debug({ name, error }, "a network stays for now");
      return false;
    } finally {
      this.#forget(name, place);
    }
  }

  async #removeUnused(name: string, place: Place): Promise<boolean> {
    if (place.holders > 0) return false; // N2
    if ((await this.#engine.used(name)).has(name)) return false;
    const isRemoved = await this.#engine.remove(name);
    await place.closeDoors(); // N4
    return isRemoved;
  }

  async #openDoors({ gateway: host }: WorkerNetwork, place: Place): Promise<void> {
    if (place.door?.host !== host) await place.closeDoors();
    if (this.#isClosed) throw new BerthError("driver.failed", "the driver is stopping");
    const { doorPort: port, natsTargets: targets, proxy, clock, log } = this.#options;
    place.door ??= await Door.open({ host, port, targets, clock, log });
    if (proxy === undefined) return;
    const purpose = "the proxy";
    place.exit ??= await Doorway.open({ host, ...proxy, ...EXITS, purpose, log });
  }

  #isOpenAt(gateway: string | undefined, place: Place | undefined): boolean {
    const { proxy } = this.#options;
    const hasExit = proxy === undefined || place?.exit?.host === gateway;
    return place?.door?.host === gateway && hasExit;
  }

  /** Opens the doors that these networks lack, and closes those of networks that somebody else removed. */
  async #mendAll(networks: readonly WorkerNetwork[]): Promise<void> {
    const gateways = new Map(networks.map(({ name, gateway }) => [name, gateway]));
    const names = new Set([...gateways.keys(), ...this.#places.keys()]);
    for (const name of names) {
      if (!this.#isOpenAt(gateways.get(name), this.#places.get(name))) await this.#mend(name);
    }
  }

  async #mend(name: string): Promise<void> {
    const place = this.#place(name);
    try {
      await place.inTurn(async () => {
        const network = await this.#engine.find(name);
        if (network === undefined) await place.closeDoors();
        else await this.#openDoors(network, place);
      });
    } catch (error) {
      this.#options.log.warn(
        { name, error },
        "a network has no way to the broker or the proxy for now",
      );
    } finally {
      this.#forget(name, place);
    }
  }

  async #removeRules(): Promise<void> {
    if (this.#places.size > 0) return;
    try {
      await this.#firewall.remove();
    } catch (error) {
      this.#options.log.warn({ error }, "the rules of the firewall stay for now");
    }
    // Somebody who came meanwhile needs them.
    if (this.#places.size > 0) await this.#firewall.ensure();
  }

  #sharedNames(): string[] {
    const reaches: readonly Reach[] = ["open", "closed"];
    return reaches.map((reach) => networkName(this.#options.owner, { kind: "shared" }, reach));
  }

  #place(name: string): Place {
    const place = this.#places.get(name) ?? new Place();
    this.#places.set(name, place);
    return place;
  }

  #forget(name: string, place: Place): void {
    if (place.isIdle) this.#places.delete(name);
  }
}
