import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ANY_ONE,
  allows,
  CHANNELS,
  type Principal,
  type Resource,
} from "../../../../protocols/isolation.ts";
import { ISOLATION_POLICY } from "../../../../protocols/isolation-policy.ts";
import {
  inboxPrefix,
  matchesSubject,
  natsPermissions,
} from "../../../../runtime/isolation/nats-permissions.ts";
import { subjectOf } from "../../../support/isolation.ts";

const principals: Principal[] = [
  { kind: "node", id: "n1" },
  { kind: "gateway", id: "g1" },
  { kind: "gateway", id: "g2" },
  { kind: "container", id: "wrk_A" },
  { kind: "container", id: "wrk_B" },
  { kind: "container", id: ANY_ONE },
  { kind: "user", id: "alice" },
];
const owners = principals.filter(({ id, kind }) => id !== ANY_ONE && kind !== "user");
const resources: Resource[] = CHANNELS.flatMap((kind) => {
  if (["uplink", "hello", "beat", "downlink"].includes(kind)) {
    return owners.filter((owner) => owner.kind === "container").map((owner) => ({ kind, owner }));
  }
  if (kind === "inbox") return owners.map((owner) => ({ kind, owner }));
  return [{ kind, owner: { kind: "node" as const, id: "n1" } }];
});

describe("NATS permissions", () => {
  it("every principal may publish and subscribe to what the policy allows it, and to nothing else", () => {
    let granted = 0;
    for (const principal of principals) {
      const permissions = natsPermissions(ISOLATION_POLICY, principal);
      for (const resource of resources) {
        for (const action of ["publish", "subscribe"] as const) {
          const projected = permissions[action].some((pattern) =>
            matchesSubject(pattern, subjectOf(resource)),
          );
          const said = allows(ISOLATION_POLICY, { principal, action, resource });
          expect(projected, `${principal.kind}/${principal.id} ${action} ${resource.kind}`).toBe(
            said,
          );
          granted += said ? 1 : 0;
        }
      }
    }
    expect(granted).toBeGreaterThan(30);
  });

  it("a worker's permissions name its own subjects only", () => {
    expect(natsPermissions(ISOLATION_POLICY, { kind: "container", id: "wrk_A" })).toEqual({
      publish: ["berth.up.wrk_A.>", "berth.hello.wrk_A", "berth.beat.wrk_A"],
      subscribe: ["berth.down.wrk_A", "_INBOX_worker.wrk_A.>"],
      answers: true,
    });
  });

  it("the shared credential of workers reaches workers' subjects, not the broker's", () => {
    expect(natsPermissions(ISOLATION_POLICY, { kind: "container", id: ANY_ONE })).toEqual({
      publish: ["berth.up.*.>", "berth.hello.*", "berth.beat.*"],
      subscribe: ["berth.down.*", "_INBOX_worker.>"],
      answers: true,
    });
  });

  it("a client gets nothing on the broker", () => {
    expect(natsPermissions(ISOLATION_POLICY, { kind: "user", id: "alice" })).toEqual({
      publish: [],
      subscribe: [],
      answers: false,
    });
  });

  it("inboxes of different principals never overlap", () => {
    const prefixes = principals.filter(({ id }) => id !== ANY_ONE).map(inboxPrefix);
    for (const [index, prefix] of prefixes.entries()) {
      for (const other of prefixes.slice(index + 1)) {
        expect(matchesSubject(`${prefix}.>`, `${other}.x`)).toBe(false);
        expect(matchesSubject(`${other}.>`, `${prefix}.x`)).toBe(false);
      }
    }
  });
});

describe("matchesSubject", () => {
  const tokens = fc.array(fc.stringMatching(/^[a-z0-9]{1,3}$/), { minLength: 1, maxLength: 5 });

  it("a subject matches itself and each wildcard form of itself", () => {
    fc.assert(
      fc.property(tokens, fc.nat(4), (parts, at) => {
        const subject = parts.join(".");
        const index = at % parts.length;
        const starred = parts.with(index, "*").join(".");
        const tail = [...parts.slice(0, index), ">"].join(".");
        expect(matchesSubject(subject, subject)).toBe(true);
        expect(matchesSubject(starred, subject)).toBe(true);
        expect(matchesSubject(tail, subject)).toBe(true);
        expect(matchesSubject(subject, `${subject}.more`)).toBe(false);
        expect(matchesSubject(`${subject}.>`, subject)).toBe(false);
      }),
    );
  });
});
