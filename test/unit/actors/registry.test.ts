import { describe, expect, it } from "vitest";
import { admitUplink } from "../../../actors/admit-uplink.ts";
import { actorDefinitions } from "../../../actors/registry.ts";
import { tierTable } from "../../../protocols/tiers.ts";

const definitions = actorDefinitions({ tiers: tierTable() });

/** Changes everything that can be changed in place. */
function spoil(value: unknown): void {
  if (Array.isArray(value)) value.push("spoilt");
  else if (typeof value === "object" && value !== null) {
    for (const inner of Object.values(value)) spoil(inner);
    Object.assign(value, { spoilt: true });
  }
}

describe("all actors", () => {
  it.each(definitions.map(({ protocol, behaviour }) => ({ kind: protocol.kind, behaviour })))(
    "of kind $kind begin anew: no new actor sees what another's state became",
    ({ behaviour }) => {
      const fresh = JSON.stringify(behaviour.state.parse({}));
      spoil(behaviour.state.parse({}));
      expect(JSON.stringify(behaviour.state.parse({}))).toBe(fresh);
    },
  );

  it("are of seven kinds, of which only the session keeps a journal", () => {
    const kinds = definitions.map(({ protocol }) => protocol.kind).toSorted();
    expect(kinds).toEqual([
      "capacity",
      "dedicated-fleet",
      "session",
      "shared-pool",
      "supervisor",
      "user",
      "user-worker",
    ]);
    const journaled = definitions.filter(({ behaviour }) => behaviour.journaled);
    expect(journaled.map(({ protocol }) => protocol.kind)).toEqual(["session"]);
  });
});

describe("a worker's uplink", () => {
  const session = { kind: "session", tenant: "acme", key: "ses" };

  it("carries frames of the worker itself to sessions, and nothing else", () => {
    expect(admitUplink("wrk_1", session, "frame", { worker: "wrk_1" })).toBe(true);
    expect(admitUplink("wrk_1", session, "frame", { worker: "wrk_2" })).toBe(false);
    expect(admitUplink("wrk_1", session, "frame", null)).toBe(false);
    expect(admitUplink("wrk_1", session, "remove", { worker: "wrk_1" })).toBe(false);
    expect(admitUplink("wrk_1", { ...session, kind: "user" }, "frame", { worker: "wrk_1" })).toBe(
      false,
    );
  });
});
