import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  bridgeName,
  bridgePrefix,
  chainName,
  deploymentChainPrefix,
  type NetworkOwner,
  networkName,
  type Reach,
} from "../../../../executor/drivers/docker/network-names.ts";
import { ID_PATTERN } from "../../../../protocols/ids.ts";

const id = fc.stringMatching(ID_PATTERN);
const engineOwner = fc.record({ deployment: id, node: id });
const reach = fc.constantFrom<Reach>("open", "closed");
const network: fc.Arbitrary<NetworkOwner> = fc.oneof(
  fc.constant({ kind: "shared" as const }),
  fc.record({ kind: fc.constant("user" as const), tenant: id, user: id }),
  fc.record({ kind: fc.constant("tenant" as const), tenant: id }),
  fc.record({ kind: fc.constant("dormant" as const), sandbox: id }),
);

describe("names of networks", () => {
  test("fit the kernel and the engine, whatever the identifiers", () => {
    fc.assert(
      fc.property(engineOwner, network, reach, fc.nat(9), (owner, whose, how, salt) => {
        const bridge = bridgeName(owner, { network: whose, reach: how, salt });
        expect(bridge).toMatch(/^bth[0-9a-f]{4}[opij][0-9a-f]{7}$/);
        expect(bridge.length).toBeLessThanOrEqual(15);
        expect(bridge.startsWith(bridgePrefix(owner))).toBe(true);
        expect(
          bridge.startsWith(bridgePrefix(owner, { reach: how, isCommon: whose.kind === "tenant" })),
        ).toBe(true);
        expect(networkName(owner, whose, how)).toMatch(/^[A-Za-z0-9][A-Za-z0-9_.-]+$/);
        for (const hook of ["IN", "FWD", "NO", "END"] as const) {
          expect(chainName(owner, hook).length).toBeLessThanOrEqual(28);
          expect(chainName(owner, hook).startsWith(deploymentChainPrefix(owner.deployment))).toBe(
            true,
          );
        }
      }),
    );
  });

  test("differ for owners whose identifiers run into each other, for reaches, nodes and deployments", () => {
    const owner = { deployment: "d", node: "n" };
    const one: NetworkOwner = { kind: "user", tenant: "a-b", user: "c" };
    const names = [
      networkName(owner, one, "open"),
      networkName(owner, { kind: "user", tenant: "a", user: "b-c" }, "open"),
      networkName(owner, { kind: "tenant", tenant: "a-b" }, "open"),
      networkName(owner, { kind: "dormant", sandbox: "a-b" }, "open"),
      networkName(owner, { kind: "shared" }, "open"),
      networkName(owner, { kind: "shared" }, "closed"),
      networkName(owner, one, "closed"),
      networkName({ deployment: "d", node: "n2" }, one, "open"),
      networkName({ deployment: "d2", node: "n" }, one, "open"),
    ];
    expect(new Set(names).size).toBe(names.length);
    const kinds = [true, false].flatMap((isCommon) =>
      (["open", "closed"] as const).map((how) => bridgePrefix(owner, { reach: how, isCommon })),
    );
    expect(new Set(kinds).size).toBe(4);
    const salted = (salt: number) => bridgeName(owner, { network: one, reach: "open", salt });
    expect(salted(0)).toBe(salted(0));
    expect(salted(1)).not.toBe(salted(0));
  });
});
