/**
 * What a node's networks are called in the engine and in the kernel. The same each time, so that a new process finds
 * what an earlier one made; and with one beginning for a node's bridges, so that one rule of a firewall meets them all.
 */
import { ISOLATION_POLICY } from "../../../protocols/isolation-policy.ts";
import { containerReach } from "../../../runtime/isolation/container-reach.ts";
import { type EngineOwner, shortHash } from "./labels.ts";

/** Whose workers a network is for. */
export type NetworkOwner =
  | { readonly kind: "shared" }
  | { readonly kind: "user"; readonly tenant: string; readonly user: string }
  | { readonly kind: "tenant"; readonly tenant: string }
  /** A worker that is nobody's yet. */
  | { readonly kind: "dormant"; readonly sandbox: string };

/** Open: it leads to the internet. An owner's open network is another one than its closed one. */
export type Reach = "open" | "closed";
export const reachOf = (internet: boolean): Reach => (internet ? "open" : "closed");

const REACH = containerReach(ISOLATION_POLICY);

/** Whether its workers may talk to each other. */
export const isCommon = ({ kind }: NetworkOwner): boolean =>
  REACH.container === "fleet" && kind === "tenant";

/** What a firewall must know of a bridge stands in its name. */
export interface BridgeKind {
  readonly reach: Reach;
  readonly isCommon: boolean;
}

function letterOf({ reach, isCommon: common }: BridgeKind): string {
  if (reach === "open") return common ? "p" : "o";
  return common ? "j" : "i";
}

/** Identifiers hold no slash: two owners never have one key. */
function keyOf(network: NetworkOwner, reach: Reach): string {
  switch (network.kind) {
    case "shared":
      return `shared/${reach}`;
    case "user":
      return `user/${network.tenant}/${network.user}/${reach}`;
    case "tenant":
      return `tenant/${network.tenant}/${reach}`;
    case "dormant":
      return `dormant/${network.sandbox}/${reach}`;
  }
}

const nodeKey = ({ deployment, node }: EngineOwner) => `${deployment}/${node}`;

export function networkName(owner: EngineOwner, network: NetworkOwner, reach: Reach): string {
  const start = `berth-${owner.deployment}-${shortHash(owner.node, 6)}-${network.kind}`;
  const whose = network.kind === "shared" ? "" : `-${shortHash(keyOf(network, reach), 12)}`;
  return `${start}${whose}${reach === "open" ? "" : "-closed"}`;
}

/** How the devices of all bridges of a node begin, or of those of one kind. */
export function bridgePrefix(owner: EngineOwner, kind?: BridgeKind): string {
  return `bth${shortHash(nodeKey(owner), 4)}${kind === undefined ? "" : letterOf(kind)}`;
}

/** 15 characters, the most that the kernel takes. `salt`: another name for the same network, should two meet. */
export function bridgeName(
  owner: EngineOwner,
  { network, reach, salt }: { network: NetworkOwner; reach: Reach; salt: number },
): string {
  const key = salt === 0 ? keyOf(network, reach) : `${keyOf(network, reach)}#${salt}`;
  return `${bridgePrefix(owner, { reach, isCommon: isCommon(network) })}${shortHash(key, 7)}`;
}

/** Where the search for a free subnet begins: elsewhere for each network, so that neighbours seldom want the same. */
export function subnetSeed(owner: EngineOwner, network: NetworkOwner, reach: Reach): number {
  return Number.parseInt(shortHash(`${nodeKey(owner)}/${keyOf(network, reach)}`, 8), 16);
}

/** Chains of ours, as distinct from all others of a firewall. */
export const CHAIN_PREFIX = "BERTH-";

/** How the chains of a deployment's nodes begin. */
export function deploymentChainPrefix(deployment: string): string {
  return `${CHAIN_PREFIX}${shortHash(deployment, 6)}-`;
}

/**
 * `IN`: what goes to the host. `FWD`: what passes through it. `NO`: what of that is refused. `END`: what is not let out.
 */
export type Chain = "IN" | "FWD" | "NO" | "END";

/** Within the 28 characters of a chain's name. Without a chain: how all of the node begin. */
export function chainName({ deployment, node }: EngineOwner, chain?: Chain): string {
  return `${deploymentChainPrefix(deployment)}${shortHash(node, 8)}-${chain ?? ""}`;
}
