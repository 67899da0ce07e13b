/** The images: what each is called, and which of the images that `--offline` makes first it needs. */
import { readFileSync } from "node:fs";
import { fromRoot, readJson } from "../bootstrap/place.mjs";

const AGENT_PACKAGES = ["@anthropic-ai/claude-code", "@openai/codex"];

/** As npm names them, at the versions that the tests use. */
function testedAgents() {
  const { dependencies } = readJson(fromRoot("deploy", "bootstrap", "agents.json"));
  return AGENT_PACKAGES.map((name) => `${name}@${dependencies[name]}`);
}

/** `agents`: command line tools of agents that go in unless others are named. `isServer`: it is made of the whole build. */
export const RECIPES = {
  executor: { tag: "berth-executor", agents: testedAgents(), isServer: false, hasNats: false },
  node: { tag: "berth-node", agents: [], isServer: true, hasNats: false },
  gateway: { tag: "berth-gateway", agents: [], isServer: true, hasNats: false },
  "all-in-one": { tag: "berth", agents: [], isServer: true, hasNats: true },
};

/** Images into which agents' tools can go. */
export const takesAgents = (name) => name === "executor" || name === "all-in-one";

export const dockerfileOf = (name) => fromRoot("deploy", "images", `${name}.Dockerfile`);
export const readDockerfile = (name) => readFileSync(dockerfileOf(name), "utf8");
