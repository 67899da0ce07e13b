/** Claude Code: `claude -p` with streaming JSON. The prompt goes in by standard input. */
import { BerthError } from "../../protocols/errors.ts";
import type { Usage } from "../../protocols/events.ts";
import type { AgentFact, LineParser, ProgramAgent } from "./agent.ts";
import { asNumber, asObject, asText, type Json, objectsOf, parseJsonLine } from "./json-line.ts";

const CREDENTIALS = [
  "CLAUDE_CODE_OAUTH_TOKEN",
  "ANTHROPIC_API_KEY",
  "ANTHROPIC_AUTH_TOKEN",
  "CLAUDE_API_KEY",
];

export const claude: ProgramAgent = {
  name: "claude",
  kind: "program",
  launch(order, { isolated }) {
    if (!CREDENTIALS.some((name) => order.env[name])) {
      throw new BerthError(
        "agent.credential_missing",
        "claude needs a claude_api or claude_oauth credential",
      );
    }
    const args = [
      "-p",
      "--output-format",
      "stream-json",
      "--verbose",
      "--include-partial-messages",
    ];
    if (order.agent_session !== undefined) args.push("--resume", order.agent_session);
    if (order.model !== undefined) args.push("--model", order.model);
    if (isolated) args.push("--dangerously-skip-permissions");
    else args.push("--permission-mode", "acceptEdits");
    return {
      command: "claude",
      args,
      stdin: { text: order.prompt },
      parser: parseClaudeLine,
      env: {
        ...keyUnderItsOwnName(order.env),
        DISABLE_AUTOUPDATER: "1",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
        // Without it the CLI refuses to run tools unasked as root, which in a container means nothing.
        ...(isolated ? { IS_SANDBOX: "1" } : {}),
      },
    };
  },
  transcript: (session) => ({ folder: ".claude/projects", suffix: `${session}.jsonl` }),
};

function keyUnderItsOwnName(env: Readonly<Record<string, string>>): Record<string, string> {
  const key = env["CLAUDE_API_KEY"];
  return key === undefined || env["ANTHROPIC_API_KEY"] ? {} : { ANTHROPIC_API_KEY: key };
}

export const parseClaudeLine: LineParser = (line) => {
  const json = parseJsonLine(line);
  switch (json?.["type"]) {
    case "system":
      return json["subtype"] === "init" ? sessionOf(json) : [];
    case "stream_event":
      return deltaOf(asObject(json["event"]));
    case "assistant":
      return partsOf(json).flatMap(assistantPart);
    case "user":
      return partsOf(json).flatMap(toolResult);
    case "result":
      return resultOf(json);
    case "rate_limit_event":
    case "control_response":
    case "tool_progress":
      return [];
    default:
      return undefined;
  }
};

function partsOf(json: Json): Json[] {
  return objectsOf(asObject(json["message"])?.["content"]);
}

function sessionOf(json: Json): AgentFact[] {
  const id = asText(json["session_id"]);
  return id === undefined ? [] : [{ fact: "session", id }];
}

function deltaOf(event: Json | undefined): AgentFact[] {
  const delta = asObject(event?.["delta"]);
  const text = asText(delta?.["text"]);
  if (delta?.["type"] !== "text_delta" || text === undefined || text === "") return [];
  return [
    {
      fact: "event",
      event: { type: "agent.message", data: { role: "assistant", text, partial: true } },
    },
  ];
}

function assistantPart(part: Json): AgentFact[] {
  const text = asText(part["text"]);
  if (part["type"] === "text" && text !== undefined) {
    return [{ fact: "event", event: { type: "agent.message", data: { role: "assistant", text } } }];
  }
  if (part["type"] !== "tool_use") return [];
  const call_id = asText(part["id"]);
  return [
    {
      fact: "event",
      event: {
        type: "agent.tool",
        data: {
          name: asText(part["name"]) ?? "tool",
          phase: "call",
          ...(call_id === undefined ? {} : { call_id }),
          input: part["input"],
        },
      },
    },
  ];
}

/** A result names its call by id alone; readers join the two. */
function toolResult(part: Json): AgentFact[] {
  if (part["type"] !== "tool_result") return [];
  const call_id = asText(part["tool_use_id"]);
  return [
    {
      fact: "event",
      event: {
        type: "agent.tool",
        data: {
          name: "",
          phase: "result",
          ...(call_id === undefined ? {} : { call_id }),
          output: part["content"],
          ...(part["is_error"] === true ? { is_error: true } : {}),
        },
      },
    },
  ];
}

function resultOf(json: Json): AgentFact[] {
  const facts: AgentFact[] = [{ fact: "usage", usage: usageOf(json) }];
  if (json["is_error"] === true) {
    const errors = Array.isArray(json["errors"])
      ? json["errors"].filter((e) => typeof e === "string")
      : [];
    const message = asText(json["result"]) ?? errors.join("; ");
    facts.push({
      fact: "failure",
      message: message === "" ? (asText(json["subtype"]) ?? "error") : message,
    });
  } else {
    facts.push(...sessionOf(json));
  }
  return facts;
}

function usageOf(json: Json): Usage {
  const usage = asObject(json["usage"]);
  const input = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"]
    .map((field) => asNumber(usage?.[field]) ?? 0)
    .reduce((sum, tokens) => sum + tokens, 0);
  const cost = asNumber(json["total_cost_usd"]);
  const duration = asNumber(json["duration_ms"]);
  return {
    input_tokens: input,
    output_tokens: asNumber(usage?.["output_tokens"]) ?? 0,
    ...(cost === undefined ? {} : { cost_usd: cost }),
    ...(duration === undefined ? {} : { duration_ms: duration }),
  };
}
