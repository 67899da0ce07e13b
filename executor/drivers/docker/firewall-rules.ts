/**
 * What workers may reach through their host's kernel, as rules of iptables. The engine keeps its networks apart, but
 * leaves every port of the host open to them, and the host's neighbourhood to all that lead to the internet.
 *
 * What passes through the host is judged in the table `mangle`, which the engine does not touch. In `filter` it takes the
 * jump to its users' chain out for a moment whenever it makes a network, and whoever tries then gets through. But only
 * `filter` can refuse, so that a program is told at once and does not wait: what is forbidden gets a mark, is refused in
 * `filter` where the mark is met, and dropped at the way out in any case.
 */
import type { EngineOwner } from "./labels.ts";
import {
  type BridgeKind,
  bridgePrefix,
  CHAIN_PREFIX,
  chainName,
  deploymentChainPrefix,
} from "./network-names.ts";

/**
 * What is not the internet: this network, private and shared addresses, loopback, link-local with metadata services, protocols,
 * relays, benchmarks, multicast, the rest. Ranges for documentation are in use nowhere, and tests take one for the internet.
 */
export const NOT_PUBLIC = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  // Azure's agent of the host, with settings and secrets of the machine.
  "168.63.129.16/32",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "224.0.0.0/4",
  "240.0.0.0/4",
] as const;

const REFUSE = "-j REJECT --reject-with icmp-admin-prohibited";
/** All 32 bits: others give meaning to single ones. */
const MARK = "0xbe27be27";
const MARKED = `-m mark --mark ${MARK}`;

export interface FirewallPlan {
  readonly owner: EngineOwner;
  readonly doorPort: number;
  /** Undefined where there is no proxy. */
  readonly proxyPort?: number | undefined;
  /** Whom the engine's name server asks in the name of a worker: often a private address. */
  readonly nameservers: readonly string[];
}

const TABLES = ["mangle", "filter"] as const;
type Table = (typeof TABLES)[number];
/** The lines of each table, in the words of `iptables-save`. */
export type Listing = Readonly<Record<Table, readonly string[]>>;

/** A chain of ours: what is in it, and from where it is called. */
interface Chain {
  readonly table: Table;
  readonly name: string;
  readonly rules: readonly string[];
  readonly hook: string;
  readonly calls: readonly string[];
}

export function parseListing(saved: string): Listing {
  const listing: Record<Table, string[]> = { mangle: [], filter: [] };
  let lines: string[] | undefined;
  for (const line of saved.split("\n")) {
    if (line.startsWith("*")) lines = (listing as Record<string, string[]>)[line.slice(1)];
    else if (line.startsWith(":") || line.startsWith("-")) lines?.push(line);
  }
  return listing;
}

const BRIDGED = "-m physdev --physdev-is-bridged";
const FORBID = `-j MARK --set-xmark ${MARK}/0xffffffff`;

const from = (owner: EngineOwner, kind?: BridgeKind) => `-i ${bridgePrefix(owner, kind)}+`;
const fromClosed = (owner: EngineOwner) =>
  [true, false].map((isCommon) => from(owner, { reach: "closed", isCommon }));
const fromCommon = (owner: EngineOwner) =>
  (["open", "closed"] as const).map((reach) => from(owner, { reach, isCommon: true }));

function questionsOfNames({ nameservers }: FirewallPlan): string[] {
  return nameservers.flatMap((address) =>
    ["udp", "tcp"].map((protocol) => `-d ${address}/32 -p ${protocol} -m ${protocol} --dport 53`),
  );
}

function rulesToHost(plan: FirewallPlan): string[] {
  return [
    // Answers to what the host itself asked; not what a worker had opened while these rules were missing.
    "-m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j ACCEPT",
    // The address must be that of the bridge by which the packet came: no other network's door.
    ...[plan.doorPort, plan.proxyPort].flatMap((port) =>
      port === undefined
        ? []
        : [`-p tcp -m tcp --dport ${port} -m addrtype --dst-type LOCAL --limit-iface-in -j ACCEPT`],
    ),
    ...fromClosed(plan.owner).map((bridges) => `${bridges} ${REFUSE}`),
    ...questionsOfNames(plan).map((question) => `${question} -j ACCEPT`),
    REFUSE,
  ];
}

function rulesThrough(plan: FirewallPlan): string[] {
  const to = `-o ${bridgePrefix(plan.owner)}+`;
  return [
    // Within one network: as the engine sees it, but also when its own rules are lost.
    ...fromCommon(plan.owner).map((bridges) => `${bridges} ${BRIDGED} -j RETURN`),
    `${BRIDGED} ${FORBID}`,
    `${to} -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN`,
    `${to} ${FORBID}`,
    ...fromClosed(plan.owner).map((bridges) => `${bridges} ${FORBID}`),
    ...questionsOfNames(plan).map((question) => `${question} -j RETURN`),
    ...NOT_PUBLIC.map((range) => `-d ${range} ${FORBID}`),
  ];
}

function chainsOf(plan: FirewallPlan, listing: Listing): Chain[] {
  const { owner } = plan;
  const [inward, outward] = [from(owner), `-o ${bridgePrefix(owner)}+`];
  // The engine leaves DOCKER-USER to its users; engines without it leave FORWARD.
  const hasUsersChain = listing.filter.includes("-A FORWARD -j DOCKER-USER");
  return [
    {
      table: "filter",
      name: chainName(owner, "IN"),
      rules: rulesToHost(plan),
      hook: "INPUT",
      calls: [inward],
    },
    {
      table: "mangle",
      name: chainName(owner, "FWD"),
      rules: rulesThrough(plan),
      hook: "FORWARD",
      calls: [inward, outward],
    },
    {
      table: "filter",
      name: chainName(owner, "NO"),
      rules: [REFUSE],
      hook: hasUsersChain ? "DOCKER-USER" : "FORWARD",
      calls: [MARKED],
    },
    {
      table: "mangle",
      name: chainName(owner, "END"),
      rules: ["-j DROP"],
      hook: "POSTROUTING",
      calls: [MARKED],
    },
  ];
}

const isCallOf = (name: string) => (line: string) =>
  line.startsWith("-A ") && line.endsWith(` -j ${name}`);
const deletion = (line: string) => line.replace(/^-A /, "-D ");

/** Whether nothing stands before the calls of a chain but calls of ours, also those of other nodes. */
function isCalledFirst({ table, name, hook, calls }: Chain, listing: Listing): boolean {
  const rules = listing[table].filter((line) => line.startsWith(`-A ${hook} `));
  const foreign = rules.findIndex((line) => !line.includes(` -j ${CHAIN_PREFIX}`));
  const first = rules.slice(0, foreign === -1 ? undefined : foreign);
  return calls.every((call) => first.includes(`-A ${hook} ${call} -j ${name}`));
}

function script(linesOf: (table: Table) => readonly string[]): string {
  return TABLES.flatMap((table) => {
    const lines = linesOf(table);
    return lines.length === 0 ? [] : [`*${table}`, ...lines, "COMMIT", ""];
  }).join("\n");
}

/** What of a listing is a node's own: changed, when somebody else touched it. */
export function ownRules(owner: EngineOwner, { mangle, filter }: Listing): string {
  const start = new RegExp(`^-A ${chainName(owner)}`);
  return [...mangle, ...filter].filter((line) => start.test(line)).join("\n");
}

/** The script for `iptables-restore --noflush` that puts all rules of a plan in force, whatever is there. */
export function restoreScript(plan: FirewallPlan, listing: Listing): string {
  const chains = chainsOf(plan, listing);
  return script((table) => {
    const own = chains.filter((chain) => chain.table === table);
    return [
      ...own.map(({ name }) => `:${name} - [0:0]`),
      ...own.flatMap(({ name, rules }) => rules.map((rule) => `-A ${name} ${rule}`)),
      ...own.flatMap(({ name }) => listing[table].filter(isCallOf(name)).map(deletion)),
      ...own.flatMap(({ name, hook, calls }) =>
        calls.map((call) => `-I ${hook} 1 ${call} -j ${name}`),
      ),
    ];
  });
}

/** The rules in force that a plan once led to: what a listing showed afterwards, in the words of this iptables. */
export interface Known {
  readonly plan: FirewallPlan;
  readonly rules: string;
}

/** The script that is needed, or undefined when all is in force. */
export function decideRestore(
  plan: FirewallPlan,
  listing: Listing,
  known: Known | undefined,
): string | undefined {
  const isKnown =
    known !== undefined &&
    JSON.stringify(known.plan) === JSON.stringify(plan) &&
    known.rules === ownRules(plan.owner, listing);
  const isInForce = chainsOf(plan, listing).every((chain) => isCalledFirst(chain, listing));
  return isKnown && isInForce ? undefined : restoreScript(plan, listing);
}

/** The script that takes away the chains of one node, or of all nodes of a deployment, with all that calls them. */
export function decideRemoval(
  whose: EngineOwner | { readonly deployment: string; readonly node?: undefined },
  listing: Listing,
): string | undefined {
  const start =
    whose.node === undefined ? deploymentChainPrefix(whose.deployment) : chainName(whose);
  const removal = script((table) => {
    const chains = listing[table]
      .flatMap((line) => /^:(\S+) /.exec(line)?.[1] ?? [])
      .filter((name) => name.startsWith(start));
    return [
      ...chains.flatMap((name) => listing[table].filter(isCallOf(name)).map(deletion)),
      ...chains.map((name) => `-F ${name}`),
      ...chains.map((name) => `-X ${name}`),
    ];
  });
  return removal === "" ? undefined : removal;
}
