/** What a node that stops does about its workers' credentials (C3, C4). */
import { expect, it } from "vitest";
import { issuedCredentials } from "../../../deploy/nats/auth/issued-credentials.ts";
import type { WorkerSpec } from "../../../protocols/executor.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { CredentialIssuer } from "../../../runtime/nats-auth/credential-issuer.ts";
import { Nkey } from "../../../runtime/nats-auth/nkey.ts";
import { deferred } from "../../support/deferred.ts";

const spec = { worker: "wrk_1", tenant: "acme", tier: "pro" } as WorkerSpec;

function credentials(revoke: () => Promise<void>) {
  const key = Nkey.make("account");
  return issuedCredentials({
    issuer: new CredentialIssuer({ keys: () => [key], ttlMs: 60_000, clock: systemClock }),
    accounts: { ensure: () => Promise.resolve(""), revoke },
    buckets: { get: () => Promise.resolve(undefined) },
    liveNodes: () => [],
    clock: systemClock,
    logger: silentLogger,
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
