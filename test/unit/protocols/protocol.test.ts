import { describe, expect, it } from "vitest";
import { z } from "zod";
import { Session } from "../../../protocols/actors/session.ts";
import { ask, protocol, tell, tool } from "../../../protocols/protocol.ts";

describe("protocol()", () => {
  it.each(["then", "catch", "finally", "constructor", "toString", "valueOf", "toJSON"])(
    "refuses a message called %s, which a promise or object would claim",
    (name) => {
      expect(() => protocol("user", { [name]: tell({}) })).toThrow(
        expect.objectContaining({ code: "config.invalid" }),
      );
    },
  );

  it.each(["", "a.b", "a b", "*", "x".repeat(65)])("refuses the kind %j", (kind) => {
    expect(() => protocol(kind, {})).toThrow(expect.objectContaining({ code: "config.invalid" }));
  });

  it("is data that nobody can change", () => {
    expect(Object.isFrozen(Session)).toBe(true);
  });

  it("a message goes by the user lane and an ask writes, unless they say otherwise", () => {
    expect(tell({}).lane).toBe("user");
    expect(tell({}, { lane: "control" }).lane).toBe("control");
    expect(ask({}, {}).readOnly).toBe(false);
  });

  it("a reader drops fields of a newer sender instead of refusing the message", () => {
    expect(tell({ a: z.number() }).input.parse({ a: 1, added: 2 })).toEqual({ a: 1 });
  });

  it("a tool's result is its output or an error", () => {
    const search = tool("search", { query: z.string() }, { text: z.string() });
    const { input } = tell(search.result);
    expect(input.safeParse({ effect: "e1", output: { text: "x" } }).success).toBe(true);
    expect(input.safeParse({ effect: "e1", error: { code: "x", message: "y" } }).success).toBe(
      true,
    );
    expect(input.safeParse({ output: { text: "x" } }).success).toBe(false);
  });
});
