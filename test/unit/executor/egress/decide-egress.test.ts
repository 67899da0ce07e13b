import { describe, expect, test } from "vitest";
import { type AddressClass, classOf, rangesOf } from "../../../../executor/egress/address-class.ts";
import {
  decideAddresses,
  decideEgress,
  tryParseTarget,
} from "../../../../executor/egress/decide-egress.ts";
import { EGRESS_GROUPS, type EgressMode, egressListSchema } from "../../../../protocols/egress.ts";
import { DEFAULT_TIERS, TIERS, tierTable } from "../../../../protocols/tiers.ts";

const SCENE = {
  own: new Set(["203.0.113.5", "2001:db9::5"]),
  workers: rangesOf(["10.212.0.0/14"]),
};
const policyOf = (mode: EgressMode, ...hosts: readonly unknown[]) => ({
  mode,
  hosts: egressListSchema.parse(hosts),
});

describe("where a worker wants to go", () => {
  test.each([
    ["api.example.com:443", { host: "api.example.com", port: 443 }],
    ["API.Example.COM.:443", { host: "api.example.com", port: 443 }],
    ["[2001:DB9::1]:443", { host: "2001:db9::1", port: 443 }],
    ["127.0.0.1:80", { host: "127.0.0.1", port: 80 }],
    ["api.example.com", { host: "api.example.com", port: 80 }],
  ])("is read of %s", (authority, target) => {
    expect(tryParseTarget(authority, 80)).toEqual(target);
  });

  test.each([
    "",
    ":443",
    "a:0",
    "a:65536",
    "a:443:443",
    "a b:443",
    "a\r\nHost: b:443",
    "a/b:443",
    "user@a:443",
    "a..b:443",
    "-a:443",
    "[127.0.0.1]:443",
    "[fe80::1%25eth0]:443",
    "2001:db9::1:443",
    "ex\u00e4mple.com:443",
    "a%2eb:443",
    "*.example.com:443",
    `${"a".repeat(254)}:443`,
  ])("is not read of %j", (authority) => {
    expect(tryParseTarget(authority, 80)).toBeUndefined();
  });
});

describe("the decision by name", () => {
  const listed = policyOf(
    "listed",
    "api.example.com",
    "*.example.org",
    "git.example.com:22",
    "192.0.2.7",
    { host: "registry.house", ports: [8_443], allow_private: true },
  );

  test.each([
    ["api.example.com", 443, "allowed"],
    ["api.example.com", 80, "allowed"],
    ["api.example.com", 22, "port_not_listed"],
    ["git.example.com", 22, "allowed"],
    ["git.example.com", 443, "port_not_listed"],
    ["a.example.org", 443, "allowed"],
    ["a.b.example.org", 443, "allowed"],
    ["example.org", 443, "not_listed"],
    ["badexample.org", 443, "not_listed"],
    ["api.example.com.evil.test", 443, "not_listed"],
    ["192.0.2.7", 443, "allowed"],
    ["192.0.2.8", 443, "address"],
    ["::1", 443, "address"],
    ["2130706433", 443, "address"],
    ["0x7f000001", 443, "address"],
    ["127.1", 443, "address"],
    ["0x7f.1", 80, "address"],
  ])("for %s at port %i is %s", (host, port, expected) => {
    const decision = decideEgress(listed, { host, port });
    expect(decision.isAllowed ? "allowed" : decision.refusal).toBe(expected);
  });

  test("lets an unlisted name pass at the usual ports where any may be reached, and never an address", () => {
    const any = policyOf("any", { host: "registry.house", allow_private: true });
    const decide = (host: string, port: number) => decideEgress(any, { host, port });
    expect(decide("somewhere.example", 443)).toEqual({ isAllowed: true, allowPrivate: false });
    expect(decide("registry.house", 443)).toEqual({ isAllowed: true, allowPrivate: true });
    expect(decide("somewhere.example", 25)).toMatchObject({ refusal: "port_not_listed" });
    expect(decide("192.0.2.8", 443)).toMatchObject({ refusal: "address" });
  });

  test("keeps the usual ports of a name that is listed with others where any may be reached", () => {
    const any = policyOf("any", "git.example.com:22", "192.0.2.7:22", {
      host: "registry.house",
      ports: [8_443],
      allow_private: true,
    });
    const decide = (host: string, port: number) => decideEgress(any, { host, port });
    const usual = { isAllowed: true, allowPrivate: false };
    expect([22, 443, 80].map((port) => decide("git.example.com", port))).toEqual(
      Array.from({ length: 3 }, () => usual),
    );
    expect(decide("git.example.com", 25)).toMatchObject({ refusal: "port_not_listed" });
    // The leave for private addresses is of the listed port alone.
    expect(decide("registry.house", 8_443)).toEqual({ isAllowed: true, allowPrivate: true });
    expect(decide("registry.house", 443)).toEqual(usual);
    expect(decide("192.0.2.7", 22)).toEqual(usual);
    expect(decide("192.0.2.7", 443)).toMatchObject({ refusal: "port_not_listed" });
  });

  test("is no for whatever is listed where there is no way out", () => {
    const none = policyOf("none", "api.example.com");
    const decision = decideEgress(none, { host: "api.example.com", port: 443 });
    expect(decision).toEqual({ isAllowed: false, refusal: "no_egress" });
  });
});

describe("the decision by address", () => {
  const expected: Readonly<Record<AddressClass, readonly string[]>> = {
    public: ["198.51.100.7", "8.8.8.8", "168.63.129.15", "2606:4700::1"],
    private: [
      "127.0.0.1",
      "10.1.2.3",
      "172.17.0.1",
      "192.168.1.1",
      "100.64.0.1",
      "::1",
      "fd12::1",
      "::ffff:127.0.0.1",
      ...SCENE.own,
    ],
    never: [
      "0.0.0.0",
      "169.254.169.254",
      "::ffff:169.254.169.254",
      "::ffff:a9fe:a9fe",
      "fe80::1",
      "fe80::1%eth0",
      "fd00:ec2::254",
      "100.100.100.200",
      "168.63.129.16",
      "::ffff:168.63.129.16",
      "224.0.0.1",
      "255.255.255.255",
      "ff02::1",
      "64:ff9b::7f00:1",
      "2002:7f00:1::",
      "::",
      "10.213.0.1",
      "nonsense",
    ],
  };

  test.each(Object.entries(expected))("knows what is %s", (kind, addresses) => {
    for (const address of addresses)
      expect([address, classOf(address, SCENE)]).toEqual([address, kind]);
  });

  test("keeps what is public of what a name led to, and what is private where that is allowed by name", () => {
    const found = ["127.0.0.1", "198.51.100.7", "169.254.169.254", "10.212.0.1"];
    expect(decideAddresses(found, false, SCENE)).toEqual(["198.51.100.7"]);
    expect(decideAddresses(found, true, SCENE)).toEqual(["127.0.0.1", "198.51.100.7"]);
  });
});

describe("a tier's list", () => {
  test("holds the hosts of models and packages by default, and no network leads out by itself", () => {
    const usual = [...EGRESS_GROUPS["@models"], ...EGRESS_GROUPS["@packages"]];
    for (const tier of TIERS) {
      const { egress, egressHosts, internet } = DEFAULT_TIERS[tier];
      expect([egress, internet]).toEqual(["listed", false]);
      expect(egressHosts.map(({ host }) => host)).toEqual(usual);
    }
  });

  test("takes groups, names, ports and hosts in full, and refuses what is no host by its name", () => {
    const given: unknown = {
      free: {
        egressHosts: ["@models", "Git.Example.com:22", { host: "10.0.0.9", allow_private: true }],
      },
    };
    const { egressHosts } = tierTable(given as Parameters<typeof tierTable>[0]).free;
    expect(egressHosts.slice(-2)).toEqual([
      { host: "git.example.com", ports: [22], allow_private: false },
      { host: "10.0.0.9", ports: [443, 80], allow_private: true },
    ]);
    expect(egressHosts).toHaveLength(EGRESS_GROUPS["@models"].length + 2);
    for (const bad of ["@nobody", "a b", "*", "*.", "a.*.b", "http://a", "a:99999", "ä.de"])
      expect(egressListSchema.safeParse([bad]).success).toBe(false);
  });
});
