import { describe, expect, it } from "vitest";
import { decideLeftover } from "../../../../runtime/nats-auth/decide-leftover.ts";
import { Nkey } from "../../../../runtime/nats-auth/nkey.ts";
import {
  removedAccountClaims,
  type WorkerAccount,
  workerAccountClaims,
} from "../../../../runtime/nats-auth/worker-account.ts";

const { publicKey } = Nkey.make("account");
const IAT = 1_000;
const COUNTS_FOR = 660;
const at = (now: number) => ({ countsFor: COUNTS_FOR, now });

function live(name: string) {
  const account: WorkerAccount = {
    ...{ name, publicKey, isSuspended: false, revocations: {}, revision: 1 },
  };
  return { ...workerAccountClaims(account, { platform: publicKey, issuers: [] }), iat: IAT };
}
const removed = { ...removedAccountClaims("tenant.acme", publicKey), iat: IAT };

describe("an account that no record names", () => {
  it("is retracted when it lets somebody in and was a tenant's", () => {
    expect(decideLeftover(live("tenant.acme"), at(IAT))).toBe("retract");
  });

  it("stays when it is the shared one, the platform's, or one that is none of ours", () => {
    for (const name of ["shared", "PLATFORM", "SYS", "somebody's"])
      expect(decideLeftover(live(name), at(IAT + 1e9))).toBe("none");
  });

  it("is forgotten only after the last second in which a credential of it could count", () => {
    expect(decideLeftover(removed, at(IAT + COUNTS_FOR))).toBe("none");
    expect(decideLeftover(removed, at(IAT + COUNTS_FOR + 1))).toBe("forget");
  });
});
