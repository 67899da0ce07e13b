import { describe, expect, test } from "vitest";
import { nameserversIn } from "../../../../executor/drivers/docker/firewall.ts";
import {
  decideRemoval,
  decideRestore,
  type FirewallPlan,
  ownRules,
  restoreScript,
} from "../../../../executor/drivers/docker/firewall-rules.ts";
import { bridgePrefix, chainName } from "../../../../executor/drivers/docker/network-names.ts";

const owner = { deployment: "deployment", node: "node" };
const PLAN: FirewallPlan = { owner, doorPort: 14_222, nameservers: ["10.0.0.2"] };
const [IN, FWD] = [chainName(owner, "IN"), chainName(owner, "FWD")];
const BRIDGES = `${bridgePrefix(owner)}+`;

const DOCKERS = ["-A FORWARD -j DOCKER-USER", "-A FORWARD -i docker0 -o docker0 -j ACCEPT"];
const HOSTS = ["-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT"];

/** What `iptables -S` would show after a script: what it appends and puts in front. */
function shown(script: string, before: readonly string[]): string[] {
  const lines = script.split("\n");
  const chains = lines.flatMap((line) => /^:(\S+)/.exec(line)?.[1] ?? []);
  const inserted = lines.filter((line) => line.startsWith("-I "));
  return [
    ...chains.map((chain) => `-N ${chain}`),
    ...inserted.toReversed().map((line) => line.replace(/^-I (\S+) 1/, "-A $1")),
    ...before,
    ...lines.filter((line) => line.startsWith("-A ")),
  ];
}

const inForce = () => {
  const script = restoreScript(PLAN, [...DOCKERS, ...HOSTS]);
  const listing = shown(script, [...DOCKERS, ...HOSTS]);
  return { listing, known: { plan: PLAN, rules: ownRules(owner, listing) } };
};

describe("the decision to restore the firewall", () => {
  test("asks for nothing when all is in force, and for everything when nobody knows", () => {
    const { listing, known } = inForce();
    expect(decideRestore(PLAN, listing, known)).toBeUndefined();
    expect(decideRestore(PLAN, listing, undefined)).toBeDefined();
  });

  test.each<[string, (listing: string[]) => string[]]>([
    ["a rule of a chain is gone", (l) => l.filter((line) => !line.includes("-d 10.0.0.0/8"))],
    ["a rule was put before ours in the chain", (l) => [`-A ${IN} -j ACCEPT`, ...l]],
    ["the chain is no longer asked", (l) => l.filter((line) => !line.startsWith("-A INPUT -i"))],
    ["another rule is asked first", (l) => ["-A INPUT -j ACCEPT", ...l]],
    ["all is gone", () => [...DOCKERS, ...HOSTS]],
  ])("asks for it when %s", (_, change) => {
    const { listing, known } = inForce();
    expect(decideRestore(PLAN, change(listing), known)).toBeDefined();
  });

  test("leaves another node its place in front, so that two nodes do not push each other away for ever", () => {
    const { listing, known } = inForce();
    const other = `-A INPUT -i bthffff+ -j ${chainName({ deployment: "x", node: "y" }, "IN")}`;
    expect(decideRestore(PLAN, [other, ...listing], known)).toBeUndefined();
  });

  test("follows a change of the name servers", () => {
    const { listing, known } = inForce();
    const moved = { ...PLAN, nameservers: ["10.0.0.3"] };
    expect(decideRestore(moved, listing, known)).toContain("-d 10.0.0.3/32 -p udp");
  });

  test("takes away jumps that stand too late, and puts each in front once", () => {
    const late = `-A INPUT -i ${BRIDGES} -j ${IN}`;
    const script = restoreScript(PLAN, [...DOCKERS, ...HOSTS, late, late]);
    expect(script.match(new RegExp(`^-D INPUT -i .* -j ${IN}$`, "gm"))).toHaveLength(2);
    expect(script.match(new RegExp(`^-I INPUT 1 -i .* -j ${IN}$`, "gm"))).toHaveLength(1);
  });

  test("hooks into FORWARD where the engine has no chain for its users, and moves when it has", () => {
    expect(restoreScript(PLAN, HOSTS)).toContain("-I FORWARD 1 -i");
    const direct = shown(restoreScript(PLAN, HOSTS), HOSTS);
    const moved = restoreScript(PLAN, [...direct, ...DOCKERS]);
    expect(moved).toContain(`-D FORWARD -i ${BRIDGES} -j ${FWD}`);
    expect(moved).toContain(`-I DOCKER-USER 1 -i ${BRIDGES} -j ${FWD}`);
  });
});

describe("the removal of a firewall", () => {
  const other = { deployment: "deployment", node: "other" };
  const stranger = { deployment: "stranger", node: "node" };
  const listing = [owner, other, stranger].reduce<string[]>(
    (before, whose) => shown(restoreScript({ ...PLAN, owner: whose }, before), before),
    [...DOCKERS, ...HOSTS],
  );

  test("takes the chains of one node, and those alone", () => {
    const script = decideRemoval(owner, listing);
    expect(script).toContain(`-X ${IN}`);
    expect(script).toContain(`-D INPUT -i ${BRIDGES} -j ${IN}`);
    for (const whose of [other, stranger]) expect(script).not.toContain(chainName(whose, "IN"));
  });

  test("takes the chains of all nodes of a deployment, and not a stranger's", () => {
    const script = decideRemoval({ deployment: "deployment" }, listing);
    for (const whose of [owner, other]) expect(script).toContain(`-X ${chainName(whose, "FWD")}`);
    expect(script).not.toContain(chainName(stranger, "IN"));
    expect(decideRemoval({ deployment: "nobody" }, listing)).toBeUndefined();
  });
});

test("a host's name servers are read without comments, loopback, IPv6 and repetition", () => {
  const text = [
    "# nameserver 10.9.9.9",
    "nameserver 10.0.0.2",
    "nameserver 127.0.0.53",
    "search example.org",
    "nameserver fd00::1",
    "nameserver 10.0.0.2 ",
    "nameserver 192.168.1.1",
  ].join("\n");
  expect(nameserversIn(text)).toEqual(["10.0.0.2", "192.168.1.1"]);
});
