import { decodeTime } from "ulid";
import { expect, test } from "vitest";
import { freshUlid } from "../../../runtime/fresh-ulid.ts";

test("ids never come twice, also when their random bytes are drawn anew", () => {
  const ids = Array.from({ length: 10_000 }, () => freshUlid(1_000));
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids) expect(id).toMatch(/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/);
});

test("an id says when it was made, and every sign of the rest is used", () => {
  expect(decodeTime(freshUlid(1_234_567_890_123))).toBe(1_234_567_890_123);
  const signs = new Set(Array.from({ length: 200 }, () => freshUlid(1).slice(10)).join(""));
  expect(signs.size).toBe(32);
});
