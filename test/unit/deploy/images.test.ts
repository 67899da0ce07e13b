/** What the Dockerfiles have in common, and with other files: each builds by itself, so that some of it stands in several. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "../../support/source.ts";

const NAMES = ["executor", "node", "gateway", "all-in-one"] as const;
const read = (...parts: string[]) => readFileSync(join(ROOT, ...parts), "utf8");
const dockerfile = (name: string) => read("deploy", "images", `${name}.Dockerfile`);

/** The instructions of a stage. */
function stageOf(text: string, name: string): string {
  const [, stage] = new RegExp(`^FROM \\S+ AS ${name}\n([\\s\\S]*?)(?=^FROM |\\Z)`, "m").exec(
    text,
  ) ?? [undefined, ""];
  return stage?.trim() ?? "";
}

const lastStage = (text: string) => text.slice(text.lastIndexOf("\nFROM "));

describe("the Dockerfiles", () => {
  it("build in one and the same stage, so that Docker builds once for all of them", () => {
    const stages = NAMES.map((name) => stageOf(dockerfile(name), "build"));

    expect(stages[0]).toContain("npm run build");
    expect(new Set(stages).size).toBe(1);
  });

  it("make a node and a gateway of the same layers", () => {
    const [node, gateway] = ["node", "gateway"].map((name) => {
      const stage = lastStage(dockerfile(name));
      return stage.slice(0, stage.indexOf("\nENV "));
    });

    expect(node).toContain("COPY --from=built /server /");
    expect(node).toBe(gateway);
  });

  it.each(NAMES)("give the image of %s a plain user, a health check and its build", (name) => {
    const stage = lastStage(dockerfile(name));

    expect(stage).toMatch(/^USER 1000:1000$/m);
    expect(stage).toMatch(/^HEALTHCHECK /m);
    expect(stage).toContain('berth.build="$BUILD"');
    expect(stage).not.toMatch(/npm|secret|ADD http/i);
  });

  it("put in the agents that the tests run", () => {
    const { dependencies } = JSON.parse(read("deploy", "bootstrap", "agents.json"));
    const [, agents = ""] = /^ARG AGENTS="(.*)"$/m.exec(dockerfile("executor")) ?? [];

    const names = ["@anthropic-ai/claude-code", "@openai/codex"];
    expect(agents.split(" ")).toEqual(names.map((name) => `${name}@${dependencies[name]}`));
  });
});
