/** Whether a worker's connection to a host may be made: first by the name alone, then by the address that it led to. Pure. */
import { isIP } from "node:net";
import { EGRESS_PORTS, type EgressHost, type EgressPolicy } from "../../protocols/egress.ts";
import { type AddressScene, classOf } from "./address-class.ts";

/** Where a worker wants to go. */
export interface EgressTarget {
  /** Lower case, without the dot at the end; an IPv6 address without brackets. */
  readonly host: string;
  readonly port: number;
}

/** As they are counted and told. */
export const REFUSALS = [
  /** Its worker has no way out at all. */
  "no_egress",
  /** Its name is not on the list. */
  "not_listed",
  "port_not_listed",
  /** An address in the place of a name. */
  "address",
  /** The name leads to what is not public. */
  "not_public",
] as const;
export type Refusal = (typeof REFUSALS)[number];

export type EgressDecision =
  | { readonly isAllowed: true; readonly allowPrivate: boolean }
  | { readonly isAllowed: false; readonly refusal: Refusal };

const LONGEST_NAME = 253;
const NAME = /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/;
/** What some resolvers read as an address, such as `0x7f.1`: its last part is a number. */
const NUMERIC = /(^|\.)(\d+|0x[0-9a-f]*)$/;

/** Reads `host:port`, or undefined for what is neither a name nor an address in their one usual form. */
export function tryParseTarget(authority: string, fallback?: number): EgressTarget | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/.exec(authority);
  if (match === null) return undefined;
  const port = match[3] === undefined ? fallback : Number(match[3]);
  if (port === undefined || port < 1 || port > 65_535) return undefined;
  if (match[1] !== undefined)
    return isIP(match[1]) === 6 ? { host: match[1].toLowerCase(), port } : undefined;
  const host = (match[2] ?? "").toLowerCase().replace(/\.$/, "");
  const isName = host.length <= LONGEST_NAME && NAME.test(host);
  return isName ? { host, port } : undefined;
}

/** By the name: nothing is asked of a name server before this allows it. */
export function decideEgress(policy: EgressPolicy, target: EgressTarget): EgressDecision {
  if (policy.mode === "none") return refuse("no_egress");
  const named = policy.hosts.filter(({ host }) => isMatch(host, target.host));
  const listed = named.filter(({ ports }) => ports.includes(target.port));
  if (listed.length > 0) return allow(listed);
  if (isAddress(target.host)) return refuse(named.length === 0 ? "address" : "port_not_listed");
  // Here a list only adds.
  if (policy.mode === "any" && EGRESS_PORTS.includes(target.port)) return allow([]);
  const isNamed = named.length > 0 || policy.mode === "any";
  return refuse(isNamed ? "port_not_listed" : "not_listed");
}

/** Those of the addresses that may be connected to: no others are, whatever the name leads to later. */
export function decideAddresses(
  addresses: readonly string[],
  allowPrivate: boolean,
  scene: AddressScene,
): string[] {
  return addresses.filter((address) => {
    const kind = classOf(address, scene);
    return kind === "public" || (kind === "private" && allowPrivate);
  });
}

export const isAddress = (host: string) => isIP(host) !== 0 || NUMERIC.test(host);

/** A star stands for one name or several before the rest, and not for the rest itself. */
function isMatch(pattern: string, host: string): boolean {
  return pattern.startsWith("*.")
    ? host.endsWith(pattern.slice(1)) && host.length > pattern.length - 1
    : pattern === host;
}

function allow(hosts: readonly EgressHost[]): EgressDecision {
  return { isAllowed: true, allowPrivate: hosts.some(({ allow_private }) => allow_private) };
}

function refuse(refusal: Refusal): EgressDecision {
  return { isAllowed: false, refusal };
}
