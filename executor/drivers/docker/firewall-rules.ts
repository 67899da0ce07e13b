/**
 * What workers may reach through their host's kernel, as rules of iptables. The engine keeps its networks apart, but
 * leaves every port of the host open to them, and the host's neighbourhood to all that lead to the internet.
 */

import type { EngineOwner } from "./labels.ts";
import { bridgePrefix, CHAIN_PREFIX, chainName, deploymentChainPrefix } from "./network-names.ts";

/**
 * What is not the internet: this network, private and shared addresses, loopback, link-local with metadata services, protocols,
 * relays, benchmarks, multicast, the rest. Ranges for documentation are in use nowhere, and tests take one for the internet.
 */
export const NOT_PUBLIC = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "224.0.0.0/4",
  "240.0.0.0/4",
] as const;

/** Refused, not dropped: a program that tries what it may not is told at once, and does not wait. */
const REFUSE = "-j REJECT --reject-with icmp-admin-prohibited";

export interface FirewallPlan {
  readonly owner: EngineOwner;
  readonly doorPort: number;
  /** Whom the engine's name server asks in the name of a worker: often a private address. */
  readonly nameservers: readonly string[];
}

interface Jump {
  readonly hook: string;
  readonly rule: string;
}

function chainsOf({ owner, doorPort, nameservers }: FirewallPlan): string[] {
  const [all, open, closed] = [
    bridgePrefix(owner),
    bridgePrefix(owner, "open"),
    bridgePrefix(owner, "closed"),
  ].map((prefix) => `${prefix}+`);
  const names = (verdict: string) =>
    nameservers.flatMap((address) =>
      ["udp", "tcp"].map(
        (p) => `-i ${open} -d ${address}/32 -p ${p} -m ${p} --dport 53 ${verdict}`,
      ),
    );
  const toHost = [
    // Answers to what the host itself asked; not what a worker had opened while these rules were missing.
    "-m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j ACCEPT",
    // The address must be that of the bridge by which the packet came: no other network's door.
    `-p tcp -m tcp --dport ${doorPort} -m addrtype --dst-type LOCAL --limit-iface-in -j ACCEPT`,
    ...names("-j ACCEPT"),
    REFUSE,
  ];
  const through = [
    // Within one network: the engine's own rules say whether its workers may talk.
    "-m physdev --physdev-is-bridged -j RETURN",
    `-o ${all} -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN`,
    `-o ${all} ${REFUSE}`,
    `-i ${closed} ${REFUSE}`,
    ...names("-j RETURN"),
    ...NOT_PUBLIC.map((range) => `-d ${range} ${REFUSE}`),
  ];
  return [
    ...toHost.map((rule) => `-A ${chainName(owner, "IN")} ${rule}`),
    ...through.map((rule) => `-A ${chainName(owner, "FWD")} ${rule}`),
  ];
}

/** The engine leaves DOCKER-USER to its users and never rewrites it; engines without it leave FORWARD. */
function jumpsOf(owner: EngineOwner, listing: readonly string[]): Jump[] {
  const forward = listing.includes("-A FORWARD -j DOCKER-USER") ? "DOCKER-USER" : "FORWARD";
  const bridges = `${bridgePrefix(owner)}+`;
  return [
    { hook: "INPUT", rule: `-i ${bridges} -j ${chainName(owner, "IN")}` },
    { hook: forward, rule: `-i ${bridges} -j ${chainName(owner, "FWD")}` },
    { hook: forward, rule: `-o ${bridges} -j ${chainName(owner, "FWD")}` },
  ];
}

/** Whether nothing stands before a jump but jumps of ours, also those of other nodes. */
function isInFront({ hook, rule }: Jump, listing: readonly string[]): boolean {
  const start = `-A ${hook} `;
  const rules = listing.filter((line) => line.startsWith(start));
  const foreign = rules.findIndex((line) => !line.includes(` -j ${CHAIN_PREFIX}`));
  return rules.slice(0, foreign === -1 ? undefined : foreign).includes(start + rule);
}

const isJumpTo = (chain: string) => (line: string) =>
  line.startsWith("-A ") && line.endsWith(` -j ${chain}`);
const deletion = (line: string) => line.replace(/^-A /, "-D ");

const script = (lines: readonly string[]) => `${["*filter", ...lines, "COMMIT"].join("\n")}\n`;

/** What of a listing (`iptables -S`) is a node's own: changed, when somebody else touched it. */
export function ownRules(owner: EngineOwner, listing: readonly string[]): string {
  const own = [chainName(owner, "IN"), chainName(owner, "FWD")];
  return listing.filter((line) => own.some((chain) => line.split(" ")[1] === chain)).join("\n");
}

/** The script for `iptables-restore --noflush` that puts all rules of a plan in force at once, whatever is there. */
export function restoreScript(plan: FirewallPlan, listing: readonly string[]): string {
  const own = [chainName(plan.owner, "IN"), chainName(plan.owner, "FWD")];
  return script([
    ...own.map((chain) => `:${chain} - [0:0]`),
    ...chainsOf(plan),
    ...own.flatMap((chain) => listing.filter(isJumpTo(chain)).map(deletion)),
    ...jumpsOf(plan.owner, listing).map(({ hook, rule }) => `-I ${hook} 1 ${rule}`),
  ]);
}

/** The rules in force that a plan once led to: what a listing showed afterwards, in the words of this iptables. */
export interface Known {
  readonly plan: FirewallPlan;
  readonly rules: string;
}

/** The script that is needed, or undefined when all is in force. */
export function decideRestore(
  plan: FirewallPlan,
  listing: readonly string[],
  known: Known | undefined,
): string | undefined {
  const isKnown =
    known !== undefined &&
    JSON.stringify(known.plan) === JSON.stringify(plan) &&
    known.rules === ownRules(plan.owner, listing);
  const isHeard = jumpsOf(plan.owner, listing).every((jump) => isInFront(jump, listing));
  return isKnown && isHeard ? undefined : restoreScript(plan, listing);
}

/** The script that takes away the chains of one node, or of all nodes of a deployment, with all that leads to them. */
export function decideRemoval(
  whose: EngineOwner | { readonly deployment: string; readonly node?: undefined },
  listing: readonly string[],
): string | undefined {
  const isOurs =
    whose.node === undefined
      ? (chain: string) => chain.startsWith(deploymentChainPrefix(whose.deployment))
      : (chain: string) => chain === chainName(whose, "IN") || chain === chainName(whose, "FWD");
  const chains = listing.flatMap((line) => /^-N (\S+)$/.exec(line)?.[1] ?? []).filter(isOurs);
  if (chains.length === 0) return undefined;
  return script([
    ...chains.flatMap((chain) => listing.filter(isJumpTo(chain)).map(deletion)),
    ...chains.map((chain) => `-F ${chain}`),
    ...chains.map((chain) => `-X ${chain}`),
  ]);
}
