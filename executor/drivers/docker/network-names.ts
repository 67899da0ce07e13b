/**
 * What a node's networks are called in the engine and in the kernel. The same each time, so that a new process finds
 * what an earlier one made; and with one beginning for a node's bridges, so that one rule of a firewall meets them all.
 */
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

/** Where a node's parts begin that carry its name in a few digits. */
const LETTER: Record<Reach, string> = { open: "o", closed: "i" };

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

/** How the devices of all bridges of a node begin, or of those of one reach. */
export function bridgePrefix(owner: EngineOwner, reach?: Reach): string {
  return `bth${shortHash(nodeKey(owner), 4)}${reach === undefined ? "" : LETTER[reach]}`;
}

/** 15 characters, the most that the kernel takes. `salt`: another name for the same network, should two meet. */
export function bridgeName(
  owner: EngineOwner,
  { network, reach, salt }: { network: NetworkOwner; reach: Reach; salt: number },
): string {
  const key = salt === 0 ? keyOf(network, reach) : `${keyOf(network, reach)}#${salt}`;
  return `${bridgePrefix(owner, reach)}${shortHash(key, 7)}`;
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

/** Within the 28 characters of a chain's name. */
export function chainName({ deployment, node }: EngineOwner, hook: "IN" | "FWD"): string {
  return `${deploymentChainPrefix(deployment)}${shortHash(node, 8)}-${hook}`;
}
