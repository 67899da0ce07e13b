/** Every agent that a worker can run, by name. */
import { BerthError } from "../../protocols/errors.ts";
import type { Agent } from "./agent.ts";
import { claude } from "./claude.ts";
import { codex } from "./codex.ts";
import { echo } from "./echo.ts";
import { shell } from "./shell.ts";

const AGENTS: ReadonlyMap<string, Agent> = new Map(
  [echo, shell, claude, codex].map((agent) => [agent.name, agent]),
);

/** Throws `agent.unknown`. */
export function agentNamed(name: string): Agent {
  const agent = AGENTS.get(name);
  if (agent === undefined)
    throw new BerthError("agent.unknown", `This worker knows no agent "${name}"`);
  return agent;
}
