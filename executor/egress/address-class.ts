/** What kind of address a name led to. Pure. */
import { BlockList, isIPv4, isIPv6 } from "node:net";

/**
 * `public`: the internet. `private`: of a house, of its host or of this host: allowed by name alone. `never`: what answers
 * for others, such as metadata services and groups, or is no address at all.
 */
export type AddressClass = "public" | "private" | "never";

/** Ranges for documentation count as public: they are in use nowhere, and tests take one for the internet. */
const NEVER = rangesOf([
  "0.0.0.0/8",
  "169.254.0.0/16",
  "192.88.99.0/24",
  "198.18.0.0/15",
  "224.0.0.0/4",
  "240.0.0.0/4",
  "fe80::/10",
  "ff00::/8",
  // Addresses in which another one is hidden: it would have to be judged, too.
  "2001::/32",
  "2002::/16",
  "64:ff9b::/96",
  "64:ff9b:1::/48",
  // Amazon's metadata.
  "fd00:ec2::254/128",
  // Alibaba's metadata.
  "100.100.100.200/32",
  // Azure's agent of the host, with settings and secrets of the machine: an address that looks public.
  "168.63.129.16/32",
]);
const PRIVATE = rangesOf([
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.168.0.0/16",
  "::1/128",
  "fc00::/7",
]);
const GLOBAL_IPV6 = rangesOf(["2000::/3"]);

export interface AddressScene {
  /** Of this host, by any of its devices. */
  readonly own: ReadonlySet<string>;
  /** Ranges in which workers live, by `rangesOf`: to make them takes longer than to judge by them. */
  readonly workers: BlockList;
}

export function classOf(address: string, { own, workers }: AddressScene): AddressClass {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return classOf(mapped, { own, workers });
  if (!isIPv4(address) && !isIPv6(address)) return "never";
  if (address.includes("%")) return "never";
  if (has(NEVER, address) || has(workers, address)) return "never";
  if (has(PRIVATE, address) || own.has(address)) return "private";
  if (isIPv6(address) && !has(GLOBAL_IPV6, address)) return "never";
  return "public";
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return isIPv4(address) ? "ipv4" : "ipv6";
}

function has(list: BlockList, address: string): boolean {
  return list.check(address, familyOf(address));
}

export function rangesOf(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [base = "", prefix = ""] = range.split("/");
    list.addSubnet(base, Number(prefix), familyOf(base));
  }
  return list;
}
