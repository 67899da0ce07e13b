import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ID_PATTERN,
  idSchema,
  jobIdSchema,
  parseId,
  parseRefName,
  refName,
  tenantIdSchema,
} from "../../../protocols/ids.ts";

const id = fc.stringMatching(/^[A-Za-z0-9]([A-Za-z0-9_-]{0,62}[A-Za-z0-9])?$/);

describe("identifiers", () => {
  it.each(["a", "A9", "a-b_c", "x".repeat(64)])("%s is one", (text) => {
    expect(parseId(text, "user")).toBe(text);
    expect(idSchema.safeParse(text).success).toBe(true);
  });

  it.each([
    ["empty", ""],
    ["a dot, which would split a subject", "a.b"],
    ["a star", "a*"],
    ["the rest wildcard", ">"],
    ["a slash, which would leave a folder", "a/b"],
    ["parent folder", ".."],
    ["NUL", "a\0b"],
    ["a space", "a b"],
    ["a line end behind a good id", "abc\n"],
    ["a leading dash, which would be an option", "-rf"],
    ["a trailing underscore", "a_"],
    ["letters outside ASCII", "naïve"],
    ["65 characters", "x".repeat(65)],
    ["300 characters", "x".repeat(300)],
  ])("%s is refused and the field named", (_, text) => {
    expect(idSchema.safeParse(text).success).toBe(false);
    expect(() => parseId(text, "user")).toThrow(
      expect.objectContaining({ code: "id.invalid", field: "user" }),
    );
  });

  it("names of the platform are refused as tenants, not as other ids", () => {
    expect(tenantIdSchema.safeParse("berth-platform").success).toBe(false);
    expect(tenantIdSchema.safeParse("berth-anything").success).toBe(false);
    expect(tenantIdSchema.safeParse("berthold").success).toBe(true);
    expect(idSchema.safeParse("berth-platform").success).toBe(true);
  });

  it("a job id is its prefix and a ULID, nothing near it", () => {
    expect(jobIdSchema.safeParse("job_01JQZK5T8M4X7N2P9R3S6V0W1Y").success).toBe(true);
    for (const text of [
      "job_",
      "ses_01JQZK5T8M4X7N2P9R3S6V0W1Y",
      "job_01JQZK5T8M4X7N2P9R3S6V0W1",
      "job_01jqzk5t8m4x7n2p9r3s6v0w1y",
    ]) {
      expect(jobIdSchema.safeParse(text).success, text).toBe(false);
    }
  });

  it("an actor's name and its parts are each other's inverse", () => {
    fc.assert(
      fc.property(id, id, id, (tenant, kind, key) => {
        expect(parseRefName(refName({ tenant, kind, key }))).toEqual({ tenant, kind, key });
      }),
    );
  });

  it.each(["", "a", "a/b", "a/b/c/d", "a//c", "a/b/", "a/b/c.d"])(
    "%j is no actor's name",
    (text) => {
      expect(() => parseRefName(text)).toThrow(expect.objectContaining({ code: "id.invalid" }));
    },
  );

  it("one character put into an id spoils it, unless it is an underscore within the length", () => {
    fc.assert(
      fc.property(
        id,
        fc.constantFrom(".", "_", "*", ">", "/", "\\", " ", "\n", "\0", "é"),
        fc.nat(70),
        (good, char, at) => {
          const text = `${good.slice(0, at)}${char}${good.slice(at)}`;
          expect(ID_PATTERN.test(good)).toBe(true);
          expect(ID_PATTERN.test(text)).toBe(
            /^\w[\w-]{0,63}$/.test(text) && /^[^_].*[^_]$/.test(text),
          );
        },
      ),
    );
  });
});
