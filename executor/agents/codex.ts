/** Codex: `codex exec --json`. The prompt goes in by standard input. */
import { BerthError } from "../../protocols/errors.ts";
import type { EventData } from "../../protocols/events.ts";
import type { AgentFact, LineParser, ProgramAgent } from "./agent.ts";
import { asNumber, asObject, asText, type Json, parseJsonLine } from "./json-line.ts";

const CREDENTIALS = ["OPENAI_API_KEY", "CODEX_API_KEY", "CODEX_ACCESS_TOKEN"];

export const codex: ProgramAgent = {
  name: "codex",
  kind: "program",
  launch(order, { isolated }) {
    if (!CREDENTIALS.some((name) => order.env[name])) {
      throw new BerthError("agent.credential_missing", "codex needs an openai or codex credential");
    }
    const args = ["exec", "--json", "--skip-git-repo-check", ...providerOf(order.env)];
    if (order.model !== undefined) args.push("-m", order.model);
    if (isolated) args.push("--dangerously-bypass-approvals-and-sandbox");
    else args.push("-c", 'sandbox_mode="workspace-write"');
    if (order.agent_session !== undefined) args.push("resume", order.agent_session);
    return {
      command: "codex",
      args: [...args, "-"],
      stdin: { text: order.prompt },
      parser: parseCodexLine,
      env: {},
    };
  },
  transcript: (session) => ({ folder: ".codex/sessions", suffix: `${session}.jsonl` }),
};

/** With a plain API key the provider is spelt out: then no login file is needed, and another address may be given. */
function providerOf(env: Readonly<Record<string, string>>): string[] {
  if (!env["OPENAI_API_KEY"]) return [];
  const url = env["OPENAI_BASE_URL"] ?? "https://api.openai.com/v1";
  const fields = [
    'name="OpenAI API"',
    `base_url=${JSON.stringify(url)}`,
    'env_key="OPENAI_API_KEY"',
    'wire_api="responses"',
  ];
  return ["-c", 'model_provider="berth"', "-c", `model_providers.berth={${fields.join(",")}}`];
}

export const parseCodexLine: LineParser = (line) => {
  const json = parseJsonLine(line);
  switch (json?.["type"]) {
    case "thread.started": {
      const id = asText(json["thread_id"]);
      return id === undefined ? [] : [{ fact: "session", id }];
    }
    case "item.started":
      return itemFacts(asObject(json["item"]), "call");
    case "item.completed":
      return itemFacts(asObject(json["item"]), "result");
    case "turn.completed":
      return usageFacts(asObject(json["usage"]));
    case "turn.failed":
      return [{ fact: "failure", message: errorText(asObject(json["error"])?.["message"]) }];
    // A stream that is retried says so as an error; only `turn.failed` is the end.
    case "error":
      return [notice(errorText(json["message"]))];
    case "turn.started":
    case "item.updated":
      return [];
    default:
      return undefined;
  }
};

function notice(text: string): AgentFact {
  return { fact: "event", event: { type: "agent.message", data: { role: "system", text } } };
}

/** The API's own sentence, when the CLI passes its JSON body on as the message. */
function errorText(message: unknown): string {
  const text = asText(message) ?? "codex reported an error";
  return asText(asObject(parseJsonLine(text)?.["error"])?.["message"]) ?? text;
}

function usageFacts(usage: Json | undefined): AgentFact[] {
  const input_tokens = asNumber(usage?.["input_tokens"]) ?? 0;
  const output_tokens = asNumber(usage?.["output_tokens"]) ?? 0;
  return [{ fact: "usage", usage: { input_tokens, output_tokens } }];
}

/** Items that are the agent's words; every other item is a tool. */
function itemFacts(item: Json | undefined, phase: "call" | "result"): AgentFact[] {
  const type = asText(item?.["type"]);
  if (item === undefined || type === undefined || type === "reasoning") return [];
  const text = asText(item["text"]) ?? asText(item["message"]) ?? "";
  if (type === "agent_message" || type === "error") {
    const role = type === "error" ? "system" : "assistant";
    return phase === "call"
      ? []
      : [{ fact: "event", event: { type: "agent.message", data: { role, text } } }];
  }
  return [{ fact: "event", event: { type: "agent.tool", data: toolData(item, type, phase) } }];
}

function toolData(item: Json, type: string, phase: "call" | "result"): EventData<"agent.tool"> {
  const { id, type: _, status, aggregated_output, exit_code, result, error, ...input } = item;
  const call_id = asText(id);
  const named = {
    name: toolName(item, type),
    phase,
    ...(call_id === undefined ? {} : { call_id }),
  };
  if (phase === "call") return { ...named, input };
  const output = { input, status, output: aggregated_output ?? result ?? error, exit_code };
  return { ...named, output, ...(status === "failed" ? { is_error: true } : {}) };
}

function toolName(item: Json, type: string): string {
  const server = asText(item["server"]);
  const tool = asText(item["tool"]);
  return server !== undefined && tool !== undefined ? `${server}.${tool}` : type;
}
