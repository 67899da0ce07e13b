/** The files of the broker's keys: what a crash leaves of them, and what a use of one costs. */
import { copyFile, mkdtemp, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ensureOperatorKeys, type OperatorKeys } from "../../../deploy/nats/auth/operator-keys.ts";
import { writePrivate } from "../../../deploy/nats/auth/private-file.ts";
import { Nkey } from "../../../runtime/nats-auth/nkey.ts";

let data: string;
let keys: OperatorKeys;
const file = (name: string) => join(keys.folder, name);

beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), "berth-keys-"));
  keys = await ensureOperatorKeys(join(data, "nats-auth"), 1);
});
afterEach(async () => {
  await rm(data, { recursive: true, force: true });
});

describe("a folder of keys", () => {
  it("gets a new key for an empty file, which a crash has left", async () => {
    const issuer = keys.get("issuer").publicKey;
    await writeFile(file("gateway-signing.nk"), "");
    const again = await ensureOperatorKeys(keys.folder, 1);
    expect(again.get("gateway-signing").kind).toBe("account");
    expect(again.get("issuer").publicKey).toBe(issuer);
    expect((await stat(file("gateway-signing.nk"))).mode & 0o777).toBe(0o600);
  });

  it("gets a missing key once, whole, when many starts make it at the same time", async () => {
    const before = await readdir(keys.folder);
    await rm(file("gateway-signing.nk"));
    const starts = Array.from({ length: 20 }, async () => {
      const started = await ensureOperatorKeys(keys.folder, 1);
      return started.get("gateway-signing").publicKey;
    });
    expect(new Set(await Promise.all(starts)).size).toBe(1);
    expect(await readdir(keys.folder)).toEqual(before);
  });
});

describe("a key (K2)", () => {
  it("is parsed once, however often it is used", () => {
    expect(keys.get("issuer")).toBe(keys.get("issuer"));
    expect(keys.all("issuer")[0]).toBe(keys.get("issuer"));
  });

  it("that is replaced, comes beside another or goes counts at once", async () => {
    const first = keys.get("issuer").publicKey;
    const next = Nkey.make("account");
    await writePrivate(file("issuer.next.nk"), next.seed);
    expect(keys.all("issuer").map(({ publicKey }) => publicKey)).toEqual([first, next.publicKey]);
    await copyFile(file("issuer.nk"), file("issuer.old.nk"));
    await rename(file("issuer.next.nk"), file("issuer.nk"));
    expect(keys.all("issuer").map(({ publicKey }) => publicKey)).toEqual([next.publicKey, first]);
    await rm(file("issuer.old.nk"));
    expect(keys.all("issuer").map(({ publicKey }) => publicKey)).toEqual([next.publicKey]);
  });
});
