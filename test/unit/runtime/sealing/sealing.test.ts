import { randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { openBox, sealBox } from "../../../../runtime/sealing/box.ts";
import {
  letterKeyFrom,
  newLetterKey,
  openLetter,
  sealLetter,
} from "../../../../runtime/sealing/letter.ts";

const bytes = fc.uint8Array({ maxLength: 300 });
const binding = fc.array(fc.oneof(fc.string({ maxLength: 8 }), fc.nat()), { maxLength: 4 });

describe("a sealed box (B1)", () => {
  it("opens to what was sealed, with its key and its binding", () => {
    fc.assert(
      fc.property(bytes, binding, (content, of) => {
        const key = randomBytes(32);
        expect(openBox(key, sealBox(key, content, of), of)).toEqual(Buffer.from(content));
      }),
    );
  });

  it("does not open with any one bit changed, be it of the nonce, the tag or the content", () => {
    const key = randomBytes(32);
    const box = sealBox(key, Buffer.from("a key of somebody"), ["acme", 1]);
    for (let bit = 0; bit < box.length * 8; bit += 1) {
      const changed = Buffer.from(box);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(openBox(key, changed, ["acme", 1]), `bit ${bit}`).toBeUndefined();
    }
  });

  it("does not open when it was cut, at whatever length, or got longer", () => {
    const key = randomBytes(32);
    const box = sealBox(key, Buffer.from("a key of somebody"), []);
    for (let length = 0; length < box.length; length += 1)
      expect(openBox(key, box.subarray(0, length), [])).toBeUndefined();
    expect(openBox(key, Buffer.concat([box, Buffer.alloc(1)]), [])).toBeUndefined();
  });

  it("does not open under another binding, also where the parts read the same when put together", () => {
    const key = randomBytes(32);
    fc.assert(
      fc.property(binding, binding, (sealed, asked) => {
        fc.pre(JSON.stringify(sealed) !== JSON.stringify(asked));
        expect(openBox(key, sealBox(key, Buffer.from("x"), sealed), asked)).toBeUndefined();
      }),
    );
    const box = sealBox(key, Buffer.from("x"), ["ab", "c"]);
    expect(openBox(key, box, ["a", "bc"])).toBeUndefined();
    expect(openBox(key, box, ["ab,c"])).toBeUndefined();
  });

  it("does not open with another key, or with what is no key", () => {
    const box = sealBox(randomBytes(32), Buffer.from("x"), []);
    for (const key of [randomBytes(32), Buffer.alloc(0), randomBytes(16)])
      expect(openBox(key, box, [])).toBeUndefined();
  });
});

describe("a sealed letter", () => {
  it("opens to what was sealed, for the holder of the private key", () => {
    const key = newLetterKey();
    fc.assert(
      fc.property(bytes, binding, (content, of) => {
        const letter = sealLetter(key.publicKey, content, of) ?? "";
        expect(openLetter(key, letter, of)).toEqual(Buffer.from(content));
      }),
      { numRuns: 50 },
    );
  });

  it("opens for nobody else, and under no other binding", () => {
    const [key, other] = [newLetterKey(), newLetterKey()];
    const letter = sealLetter(key.publicKey, Buffer.from("x"), ["wrk_1", "job_1", 1]) ?? "";
    expect(openLetter(other, letter, ["wrk_1", "job_1", 1])).toBeUndefined();
    for (const asked of [
      ["wrk_2", "job_1", 1],
      ["wrk_1", "job_2", 1],
      ["wrk_1", "job_1", 2],
      ["wrk_1", "job_1", "1"],
    ])
      expect(openLetter(key, letter, asked)).toBeUndefined();
  });

  it("does not open with any one character changed, nor cut", () => {
    const key = newLetterKey();
    const letter = sealLetter(key.publicKey, Buffer.from("secret"), []) ?? "";
    for (let at = 0; at < letter.length; at += 1) {
      const changed = letter[at] === "A" ? "B" : "A";
      const text = letter.slice(0, at) + changed + letter.slice(at + 1);
      expect(openLetter(key, text, []), `character ${at}`).toBeUndefined();
      expect(openLetter(key, letter.slice(0, at), [])).toBeUndefined();
    }
    expect(openLetter(key, `${letter}=`, [])).toBeUndefined();
  });

  it("is sealed to no key that would make every secret the same, and to nothing that is no key", () => {
    const zero = Buffer.alloc(32).toString("base64url");
    const one = Buffer.from([1, ...Buffer.alloc(31)]).toString("base64url");
    for (const bad of [zero, one, "", "abc", Buffer.alloc(33).toString("base64url")])
      expect(sealLetter(bad, Buffer.from("x"), []), bad).toBeUndefined();
    const key = newLetterKey();
    const fromZero = Buffer.concat([Buffer.alloc(32), randomBytes(60)]).toString("base64url");
    expect(openLetter(key, fromZero, [])).toBeUndefined();
  });

  it("is another one each time", () => {
    const { publicKey } = newLetterKey();
    const letters = Array.from({ length: 20 }, () => sealLetter(publicKey, Buffer.from("x"), []));
    expect(new Set(letters).size).toBe(20);
  });

  it("goes to the public key that RFC 7748 gives for its example's private key", () => {
    const seed = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
    const known = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
    const { publicKey } = letterKeyFrom(Buffer.from(seed, "hex"));
    expect(Buffer.from(publicKey, "base64url").toString("hex")).toBe(known);
  });
});
