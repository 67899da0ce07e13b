import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { AgentFact, LineParser } from "../../../executor/agents/agent.ts";
import { claude, parseClaudeLine } from "../../../executor/agents/claude.ts";
import { codex, parseCodexLine } from "../../../executor/agents/codex.ts";
import type { JobOrder } from "../../../protocols/executor.ts";

/** Recorded from the real command line tools in front of the models' stand-in. */
function facts(parser: LineParser, fixture: string): (AgentFact | "stray")[] {
  const text = readFileSync(join(import.meta.dirname, "fixtures", `${fixture}.jsonl`), "utf8");
  return text
    .trim()
    .split("\n")
    .flatMap((line): (AgentFact | "stray")[] => [...(parser(line) ?? ["stray" as const])]);
}

const order = (overrides: Partial<JobOrder> = {}): JobOrder => ({
  job_id: "j",
  attempt: 1,
  tenant: "t",
  user: "u",
  session_id: "s",
  agent: "claude",
  prompt: "p",
  timeout_ms: null,
  env: {},
  ...overrides,
});
const place = { work: "/w", home: "/h", tmp: "/t", isolated: false };

describe("the claude parser", () => {
  it("turns deltas into partial messages and the whole into one message, with session and usage", () => {
    expect(facts(parseClaudeLine, "claude-text")).toMatchObject([
      { fact: "session", id: expect.stringMatching(/^[0-9a-f-]{36}$/) },
      { event: { type: "agent.message", data: { text: "echo: ", partial: true } } },
      { event: { type: "agent.message", data: { text: "hello there\n", partial: true } } },
      {
        event: { type: "agent.message", data: { role: "assistant", text: "echo: hello there\n" } },
      },
      {
        fact: "usage",
        usage: { input_tokens: 11, output_tokens: 5, cost_usd: expect.any(Number) },
      },
      { fact: "session" },
    ]);
  });

  it("pairs a tool's call and result by id", () => {
    const tools = facts(parseClaudeLine, "claude-tool").filter(
      (fact) => fact !== "stray" && fact.fact === "event" && fact.event.type === "agent.tool",
    );
    expect(tools).toMatchObject([
      {
        event: {
          data: {
            name: "Bash",
            phase: "call",
            call_id: "toolu_stub",
            input: { command: "echo from-tool" },
          },
        },
      },
      { event: { data: { phase: "result", call_id: "toolu_stub", output: "from-tool" } } },
    ]);
  });

  it("takes an error result for a failure, and keeps no session of it", () => {
    const line =
      '{"type":"result","is_error":true,"subtype":"error_during_execution","errors":["No conversation"],"session_id":"x"}';
    expect(parseClaudeLine(line)).toMatchObject([
      { fact: "usage" },
      { fact: "failure", message: "No conversation" },
    ]);
  });

  it.each(["warning: hello", "{not json", "[1]", '{"type":"something new"}', "null", ""])(
    "leaves %j to be shown as it is",
    (line) => {
      expect(parseClaudeLine(line)).toBeUndefined();
      expect(parseCodexLine(line)).toBeUndefined();
    },
  );
});

describe("the codex parser", () => {
  it("reads session, message and usage", () => {
    expect(facts(parseCodexLine, "codex-text")).toMatchObject([
      { fact: "session", id: expect.stringMatching(/^[0-9a-f-]{36}$/) },
      {
        event: { type: "agent.message", data: { role: "assistant", text: "echo: hello there\n" } },
      },
      { fact: "usage", usage: { input_tokens: 11, output_tokens: 5 } },
    ]);
  });

  it("says the API's own sentence when a turn fails", () => {
    expect(facts(parseCodexLine, "codex-refused").at(-1)).toEqual({
      fact: "failure",
      message: "the stub refuses",
    });
  });

  it("makes tools of commands", () => {
    const item = { id: "item_1", type: "command_execution", command: "ls", status: "in_progress" };
    const started = JSON.stringify({ type: "item.started", item });
    const done = { ...item, status: "failed", aggregated_output: "no", exit_code: 2 };
    const completed = JSON.stringify({ type: "item.completed", item: done });
    expect(parseCodexLine(started)).toMatchObject([
      {
        event: {
          data: {
            name: "command_execution",
            phase: "call",
            call_id: "item_1",
            input: { command: "ls" },
          },
        },
      },
    ]);
    expect(parseCodexLine(completed)).toMatchObject([
      {
        event: {
          data: { phase: "result", is_error: true, output: { output: "no", exit_code: 2 } },
        },
      },
    ]);
  });
});

describe("a launch", () => {
  it("passes prompts by standard input, never as arguments", () => {
    const prompt = "x".repeat(256 * 1024);
    for (const launch of [
      claude.launch(order({ prompt, env: { ANTHROPIC_API_KEY: "k" } }), place),
      codex.launch(order({ prompt, env: { OPENAI_API_KEY: "k" } }), place),
    ]) {
      expect(launch.stdin).toEqual({ text: prompt });
      expect(launch.args.join(" ").length).toBeLessThan(1_000);
      expect(JSON.stringify([launch.args, launch.command])).not.toContain('"k"');
    }
  });

  it("resumes the session and takes the model", () => {
    const options = { model: "m1", agent_session: "s1" };
    expect(
      claude.launch(order({ ...options, env: { CLAUDE_CODE_OAUTH_TOKEN: "k" } }), place).args,
    ).toEqual(expect.arrayContaining(["--resume", "s1", "--model", "m1"]));
    expect(
      codex.launch(order({ ...options, env: { CODEX_ACCESS_TOKEN: "k" } }), place).args.slice(-3),
    ).toEqual(["resume", "s1", "-"]);
  });

  it("lets an agent run its tools unasked only where a container is around it", () => {
    const env = { ANTHROPIC_API_KEY: "k", OPENAI_API_KEY: "k" };
    const unasked = /dangerously/;
    for (const agent of [claude, codex]) {
      expect(agent.launch(order({ env }), place).args.join(" ")).not.toMatch(unasked);
      expect(agent.launch(order({ env }), { ...place, isolated: true }).args.join(" ")).toMatch(
        unasked,
      );
    }
  });

  it("gives the key of a claude_api credential under the name that the tool reads", () => {
    expect(claude.launch(order({ env: { CLAUDE_API_KEY: "k" } }), place).env).toMatchObject({
      ANTHROPIC_API_KEY: "k",
    });
  });

  it("without any key is refused before anything is started", () => {
    for (const agent of [claude, codex]) {
      expect(() => agent.launch(order(), place)).toThrow(
        expect.objectContaining({ code: "agent.credential_missing" }),
      );
    }
  });
});
