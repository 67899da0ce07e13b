import { nkeys } from "@nats-io/transport-node";
import { describe, expect, it } from "vitest";
import {
  accountOf,
  authenticatorOf,
  formatCredsFile,
  parseCredsFile,
  validityOf,
} from "../../../../runtime/nats-auth/credential.ts";
import { CredentialIssuer } from "../../../../runtime/nats-auth/credential-issuer.ts";
import { readClaims } from "../../../../runtime/nats-auth/jwt.ts";
import { Nkey, type NkeyKind } from "../../../../runtime/nats-auth/nkey.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

const text = new TextEncoder();
const KINDS: NkeyKind[] = ["operator", "account", "user"];

describe("our keys and those of NATS's own library", () => {
  it.each(KINDS)("are the same texts and signatures: %s", (kind) => {
    const ours = Nkey.make(kind);
    const theirs = nkeys.fromSeed(text.encode(ours.seed));
    expect(theirs.getPublicKey()).toBe(ours.publicKey);
    expect(Buffer.from(theirs.sign(text.encode("nonce")))).toEqual(ours.sign("nonce"));
  });

  it.each([
    [nkeys.createOperator(), "operator"],
    [nkeys.createAccount(), "account"],
    [nkeys.createUser(), "user"],
  ] as const)("a seed of theirs is read", (theirs, kind) => {
    const ours = Nkey.parse(Buffer.from(theirs.getSeed()).toString());
    expect(ours).toMatchObject({ kind, publicKey: theirs.getPublicKey() });
  });

  it.each(["", "SU", "SUAMA", "nonsense"])(
    "«%s» is no seed, and the error does not repeat it",
    (seed) => {
      expect(() => Nkey.parse(seed)).toThrow("not the seed of a NATS key");
    },
  );

  it("a seed with one letter changed is refused by its checksum", () => {
    const { seed } = Nkey.make("user");
    const changed = `${seed.slice(0, 20)}${seed[20] === "A" ? "B" : "A"}${seed.slice(21)}`;
    expect(() => Nkey.parse(changed)).toThrow("not the seed");
  });
});

describe("workers' credentials", () => {
  const issuerOf = (...keys: [Nkey, ...Nkey[]]) => {
    const clock = new ManualClock(1_000_500);
    return new CredentialIssuer({ keys: () => keys, ttlMs: 60_000, clock });
  };
  const account = Nkey.make("account").publicKey;

  it("follow from the issuer's key and the worker's id alone", () => {
    const key = Nkey.make("account");
    const [one, two] = [issuerOf(key), issuerOf(Nkey.parse(key.seed))];
    expect(one.issue("w", account)).toEqual(two.issue("w", account));
    expect(one.usersOf("w")).toEqual(two.usersOf("w"));
    expect(one.usersOf("w")).not.toEqual(one.usersOf("v"));
    expect(one.usersOf("w")).not.toEqual(issuerOf(Nkey.make("account")).usersOf("w"));
  });

  it("name the worker, its account and their end, and no right", () => {
    const key = Nkey.make("account");
    const credential = issuerOf(key).issue("wrk_1", account);
    const claims = readClaims(credential.jwt);
    expect(claims).toMatchObject({ name: "wrk_1", iss: key.publicKey, iat: 1_000, exp: 1_060 });
    expect(claims.nats).toMatchObject({ pub: {}, sub: {}, issuer_account: account });
    expect(accountOf(credential)).toBe(account);
    expect(validityOf(credential)).toEqual({ issuer: key.publicKey, expires_at: 1_060_000 });
  });

  it("are known under an old key, too, while it goes", () => {
    const [fresh, old] = [Nkey.make("account"), Nkey.make("account")];
    expect(issuerOf(fresh, old).usersOf("w")).toEqual([
      ...issuerOf(fresh).usersOf("w"),
      ...issuerOf(old).usersOf("w"),
    ]);
  });

  it("survive their file, and prove who has them at each connect with the newest", () => {
    const issuer = issuerOf(Nkey.make("account"));
    const [one, two] = [issuer.issue("a", account), issuer.issue("b", account)];
    expect(parseCredsFile(formatCredsFile(one))).toEqual(one);
    let current = one;
    const prove = authenticatorOf(() => current);
    expect(prove("n")).toMatchObject({ jwt: one.jwt, nkey: issuer.usersOf("a")[0] });
    current = two;
    expect(prove("n")).toMatchObject({ jwt: two.jwt, nkey: issuer.usersOf("b")[0] });
  });

  it("an unreadable file is refused without a word of what is in it", () => {
    expect(() => parseCredsFile("SUSECRET")).toThrow("not a file of NATS credentials");
  });
});
