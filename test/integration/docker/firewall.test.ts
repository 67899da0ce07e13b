/** The firewall in a namespace of the kernel's own, with the real iptables: nothing of the host's is touched. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { mustRun, type RunCommand, runCommand } from "../../../executor/drivers/docker/command.ts";
import { Firewall } from "../../../executor/drivers/docker/firewall.ts";
import type { EngineOwner } from "../../../executor/drivers/docker/labels.ts";
import { chainName } from "../../../executor/drivers/docker/network-names.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { describeDocker } from "../../support/docker.ts";
import { makeNetNamespace, type NetNamespace } from "../../support/net-namespace.ts";

const owner = { deployment: "test-deployment", node: "node-a" };
const [IN, FWD, NO, END] = (["IN", "FWD", "NO", "END"] as const).map((chain) =>
  chainName(owner, chain),
);
const LOOK = ["iptables-save"];

describeDocker("the firewall of a host", () => {
  let space: NetNamespace;
  /** Programs that were run since the last look. */
  let ran: string[] = [];
  const run: RunCommand = (program, args, input) => {
    ran.push(program);
    return space.run(program, args, input);
  };
  const firewallOf = (whose: EngineOwner, how: RunCommand = run) =>
    new Firewall({
      owner: whose,
      doorPort: 14_222,
      log: silentLogger,
      nameservers: async () => ["10.0.0.2"],
      run: how,
    });
  const iptables = (...args: readonly string[]) => mustRun(space.run, "iptables", ["-w", ...args]);
  const mangle = (...args: readonly string[]) => iptables("-t", "mangle", ...args);
  const rules = async () => `${await iptables("-S")}${await mangle("-S")}`;

  beforeAll(async () => {
    space = await makeNetNamespace();
  });
  beforeEach(async () => {
    for (const empty of ["-F", "-X"]) {
      await iptables(empty);
      await mangle(empty);
    }
    // As an engine leaves it, with rules of the host's own.
    await iptables("-N", "DOCKER-USER");
    await iptables("-A", "DOCKER-USER", "-j", "RETURN");
    await iptables("-A", "FORWARD", "-j", "DOCKER-USER");
    await iptables("-A", "FORWARD", "-i", "docker0", "-j", "ACCEPT");
    await iptables("-A", "INPUT", "-p", "tcp", "--dport", "22", "-j", "ACCEPT");
    ran = [];
  });
  afterAll(async () => {
    await space?.[Symbol.asyncDispose]();
  });

  test("is set once however often it is ensured, also by a new process, and then costs one look", async () => {
    const firewall = firewallOf(owner);
    await Promise.all([firewall.ensure(), firewall.ensure(), firewall.ensure()]);
    const first = await rules();
    expect(first).toContain(`-j ${IN}`);
    expect(first.match(new RegExp(`-A INPUT .*-j ${IN}`, "g"))).toHaveLength(1);
    await firewallOf(owner).ensure();
    expect(await rules()).toBe(first);
    ran = [];
    await firewall.ensure();
    expect(ran).toEqual(LOOK);
    expect(firewall.weaknesses).toEqual([]);
  });

  test.each<[string, () => Promise<unknown>]>([
    ["a chain was emptied", () => mangle("-F", FWD!)],
    ["one rule was deleted", () => iptables("-D", IN!, "1")],
    ["the host's chain was emptied", () => iptables("-F", "INPUT")],
    ["the engine's chain was emptied", () => iptables("-F", "DOCKER-USER")],
    ["the table that judges was emptied", () => mangle("-F")],
    ["a rule was put before ours", () => iptables("-I", "INPUT", "1", "-j", "ACCEPT")],
    ["a rule was put before what drops", () => mangle("-I", "POSTROUTING", "1", "-j", "ACCEPT")],
    [
      "a chain was removed",
      async () => {
        await iptables("-F", "INPUT");
        await iptables("-F", IN!);
        await iptables("-X", IN!);
      },
    ],
  ])("is restored when %s", async (_, harm) => {
    const firewall = firewallOf(owner);
    await firewall.ensure();
    const chains = async () => [
      await iptables("-S", IN!),
      await iptables("-S", NO!),
      await mangle("-S", FWD!),
      await mangle("-S", END!),
    ];
    const before = await chains();
    await harm();
    await firewall.ensure();
    expect(await chains()).toEqual(before);
    const firstOf = (listed: string) => listed.split("\n")[1];
    expect(firstOf(await iptables("-S", "INPUT"))).toMatch(new RegExp(`-j ${IN}$`));
    expect(firstOf(await iptables("-S", "DOCKER-USER"))).toMatch(new RegExp(`-j ${NO}$`));
    expect(firstOf(await mangle("-S", "FORWARD"))).toMatch(new RegExp(`-j ${FWD}$`));
    expect(firstOf(await mangle("-S", "POSTROUTING"))).toMatch(new RegExp(`-j ${END}$`));
    expect(await rules()).toContain("-A FORWARD -i docker0 -j ACCEPT");
    ran = [];
    await firewall.ensure();
    expect(ran).toEqual(LOOK);
  });

  test("leaves nothing of its own when it is removed, and everything of others", async () => {
    const before = await rules();
    const [mine, other] = [firewallOf(owner), firewallOf({ ...owner, node: "node-b" })];
    await mine.ensure();
    const one = await rules();
    await other.ensure();
    await other.remove();
    expect(await rules()).toBe(one);
    await mine.remove();
    expect(await rules()).toBe(before);
    await mine.remove();
  });

  test("of every node of a deployment is found and removed, and not that of another deployment", async () => {
    const stranger = firewallOf({ deployment: "test-stranger", node: owner.node });
    await stranger.ensure();
    const before = await rules();
    for (const node of ["node-a", "node-b", "node-c"])
      await firewallOf({ ...owner, node }).ensure();
    await firewallOf(owner).removeDeployment();
    expect(await rules()).toBe(before);
  });

  test("that may not be set is no crash but a weakness, until it may", async () => {
    let isAllowed = false;
    const plainUser: RunCommand = (program, args, input) =>
      isAllowed
        ? run(program, args, input)
        : runCommand(
            "setpriv",
            ["--reuid=65534", "--regid=65534", "--clear-groups", program, ...args],
            input,
          );
    const firewall = firewallOf(owner, plainUser);
    await firewall.ensure();
    expect(firewall.weaknesses).toEqual([
      "workers can reach this host's ports and its private networks: no right to set firewall rules",
    ]);
    isAllowed = true;
    await firewall.ensure();
    expect(firewall.weaknesses).toEqual([]);
  });

  test("of a host without iptables is a weakness that names it, and nothing to remove", async () => {
    const firewall = firewallOf(owner, (program, args) => runCommand(`no-such-${program}`, args));
    await firewall.ensure();
    expect(firewall.weaknesses).toEqual([
      "workers can reach this host's ports and its private networks: iptables-save was not found",
    ]);
    await firewall.remove();
  });
});
