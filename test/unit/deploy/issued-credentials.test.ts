/** What a node that stops does about its workers' credentials (C3, C4). */
import { expect, it } from "vitest";
import {
  type IssuedParts,
  issuedCredentials,
} from "../../../deploy/nats/auth/issued-credentials.ts";
import type { WorkerWord } from "../../../executor/host-wire.ts";
import type { WorkerSpec } from "../../../protocols/executor.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { CredentialIssuer } from "../../../runtime/nats-auth/credential-issuer.ts";
import { Nkey } from "../../../runtime/nats-auth/nkey.ts";
import { deferred } from "../../support/deferred.ts";

const spec = { worker: "wrk_1", tenant: "acme", tier: "pro" } as WorkerSpec;

function credentials(revoke: () => Promise<void>, more: Partial<IssuedParts> = {}) {
  const key = Nkey.make("account");
  return issuedCredentials({
    issuer: new CredentialIssuer({ keys: () => [key], ttlMs: 60_000, clock: systemClock }),
    accounts: { ensure: () => Promise.resolve(""), revoke },
    buckets: { get: () => Promise.resolve(undefined) },
    liveNodes: () => [],
    clock: systemClock,
    logger: silentLogger,
    ...more,
  });
}

it("revokes what its workers had before it leaves (C4)", async () => {
  const answer = deferred();
  let isRevoked = false;
  const issued = credentials(async () => {
    await answer.promise;
    isRevoked = true;
  });
  issued.revoke(spec);
  const closed = issued.close().then(() => isRevoked);
  answer.resolve();
  expect(await closed).toBe(true);
});

it("tries again what the broker did not take (C3), and leaves in the end without it (C4)", async () => {
  let tries = 0;
  const issued = credentials(() => {
    tries += 1;
    return Promise.reject(new Error("the broker is away"));
  });
  issued.revoke(spec);
  await issued.close();
  expect(tries).toBeGreaterThan(2);
  const triedUntilNow = tries;
  await issued.close();
  expect(tries).toBe(triedUntilNow);
});

it("says once that a credential cannot be renewed, and again when it had been in between (C5)", async () => {
  let isAway = true;
  const warned: object[] = [];
  const revoke = () => Promise.resolve();
  const issued = credentials(revoke, {
    accounts: {
      ensure: () => (isAway ? Promise.reject(new Error("away")) : Promise.resolve("A")),
      revoke,
    },
    logger: { ...silentLogger, warn: (fields) => void warned.push(fields) },
  });
  const renew = () =>
    issued.renew(spec, { credential: { issuer: "an older one", expires_at: 0 } } as WorkerWord);
  for (let n = 0; n < 3; n += 1) await expect(renew()).rejects.toThrow("away");
  expect(warned).toMatchObject([{ worker: spec.worker }]);
  isAway = false;
  expect(await renew()).toHaveProperty("jwt");
  isAway = true;
  await expect(renew()).rejects.toThrow("away");
  expect(warned).toHaveLength(2);
});
