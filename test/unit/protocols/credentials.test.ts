import { describe, expect, it } from "vitest";
import { environmentNames, providerSchema, providersOf } from "../../../protocols/credentials.ts";

describe("providers", () => {
  it.each([
    ["claude_oauth", ["CLAUDE_CODE_OAUTH_TOKEN"]],
    ["claude_api", ["CLAUDE_API_KEY", "ANTHROPIC_API_KEY"]],
    ["codex", ["CODEX_ACCESS_TOKEN"]],
    ["openai", ["OPENAI_API_KEY"]],
    ["gemini", ["GEMINI_API_KEY"]],
    ["deepseek", ["DEEPSEEK_API_KEY"]],
    ["mistral", ["MISTRAL_API_KEY"]],
    ["my-own_2", ["MY_OWN_2_API_KEY"]],
    ["constructor", ["CONSTRUCTOR_API_KEY"]],
  ])("%s is called %j in an agent's environment", (provider, names) => {
    expect(environmentNames(provider)).toEqual(names);
  });

  it.each(["", "A", "a.b", "a*", "a>", "-a", "a-", "1a", "a b", "ä", "x".repeat(33)])(
    "%j names no provider: it would be a part of a subject and of a variable's name",
    (name) => {
      expect(providerSchema.safeParse(name).success).toBe(false);
    },
  );

  it("an agent gets keys of its own providers alone, and a shell none", () => {
    expect(providersOf("claude")).toEqual(["claude_oauth", "claude_api"]);
    expect(providersOf("codex")).toEqual(["codex", "openai"]);
    for (const agent of ["shell", "echo", "toString"]) expect(providersOf(agent)).toEqual([]);
  });
});
