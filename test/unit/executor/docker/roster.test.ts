import { expect, test } from "vitest";
import { type Known, Roster } from "../../../../executor/drivers/docker/roster.ts";

test("a network is its workers' tenant's, one that is shared is nobody's, and one without workers neither", () => {
  const roster = new Roster(() => {
    throw new Error("not asked");
  });
  const put = (worker: string, gateway: string, spec: object) =>
    roster.known.set(worker, { gateway, spec: { worker, ...spec } } as Known);
  put("w1", "10.212.0.1", { tenant: "acme", user: "ann", network: "user" });
  put("w2", "10.212.0.33", { tenant: "acme", user: "bob", network: "user" });
  put("w3", "10.212.0.65", { tenant: "umbrella", network: "tenant" });
  put("w4", "10.215.0.1", { tenant: "umbrella", network: "shared" });
  const gateways = ["10.212.0.1", "10.212.0.33", "10.212.0.65", "10.215.0.1", "10.212.0.97"];
  expect(gateways.map((gateway) => roster.tenantAt(gateway))).toEqual([
    ...["acme", "acme", "umbrella"],
    ...[undefined, undefined],
  ]);
});
