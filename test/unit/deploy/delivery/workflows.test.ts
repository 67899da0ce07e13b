import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { describeKustomize } from "../../../support/kubernetes/kustomize.ts";
import { ROOT } from "../../../support/source.ts";
import {
  expression,
  parserFaults,
  readWorkflows,
  type Workflow,
  workflowFaults,
} from "../../../support/workflows.ts";

const workflows = readWorkflows();
const named = (name: string): Workflow => workflows.find((one) => one.name === name)!;
const changed = (name: string, from: string, to: string): Workflow => {
  const { text } = named(name);
  expect(text).toContain(from);
  return { name, text: text.replace(from, to) };
};

describeKustomize("each workflow", () => {
  it("is one that GitHub's own parser takes", async () => {
    expect(workflows.map(({ name }) => name).toSorted()).toEqual([
      "deploy.yaml",
      "release.yaml",
      "verify.yaml",
    ]);
    for (const workflow of workflows) expect(await parserFaults(workflow)).toEqual([]);
  });

  it("that is not, is found", async () => {
    const unknown = changed("verify.yaml", "runs-on: ubuntu-24.04", "run-on: ubuntu-24.04");
    expect((await parserFaults(unknown)).join()).toContain("run-on");
    const context = changed(
      "release.yaml",
      expression("steps.build.outputs.digest"),
      expression("step.build"),
    );
    expect((await parserFaults(context)).join()).toContain("step");
  });
});

describe("each workflow", () => {
  it("pins what it uses, bounds its jobs, writes where it must, and calls what there is", async () => {
    for (const workflow of workflows) expect(await workflowFaults(workflow)).toEqual([]);
  });

  it.each([
    [
      "verify.yaml",
      "@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0",
      "@v5",
      "actions/checkout@v5 is not pinned",
    ],
    ["verify.yaml", "timeout-minutes: 90", "env: {}", "test may hang for hours"],
    ["verify.yaml", "contents: read", "contents: write", "may write more than one job needs"],
    ["verify.yaml", "bash .ci/run", "bash .ci/runs", "there is no .ci/runs"],
    ["verify.yaml", "run: npm ci", "run: npm run everything", "there is no npm script everything"],
    ["verify.yaml", "done", "", "bash does not take a script"],
    [
      "release.yaml",
      "deploy/images/${{",
      "deploy/image/${{",
      "there is no deploy/image/node.Dockerfile",
    ],
    [
      "release.yaml",
      "./.github/workflows/verify.yaml",
      "./.github/workflows/test.yaml",
      "there is no ./.github/workflows/test.yaml",
    ],
    [
      "release.yaml",
      'notes.mjs "$TAG"',
      `notes.mjs ${expression("github.ref_name")}`,
      "a script has an expression in it",
    ],
  ])("of %s is found with %j changed", async (name, from, to, fault) => {
    expect((await workflowFaults(changed(name, from, to))).join("\n")).toContain(fault);
  });

  it("that releases builds every image for two architectures, tells what is inside, and signs it", () => {
    const { text } = named("release.yaml");
    for (const setting of [
      "platforms: linux/amd64,linux/arm64",
      "sbom: true",
      "provenance: mode=max",
      "flavor: latest=false",
      "cosign sign --yes --recursive",
    ])
      expect(text).toContain(setting);
  });
});

describe("Renovate", () => {
  const text = readFileSync(join(ROOT, "renovate.json"), "utf8");
  const settings = JSON.parse(text) as {
    customManagers: { managerFilePatterns: string[]; matchStrings: string[] }[];
  };

  it("finds the lists of packages that tests alone need", () => {
    const [manager] = settings.customManagers;
    const pattern = new RegExp(manager!.managerFilePatterns[0]!.slice(1, -1));
    const lists = ["agents", "peers", "schemas"].map((name) => `deploy/bootstrap/${name}.json`);
    for (const list of lists) {
      expect(existsSync(join(ROOT, list))).toBe(true);
      expect(list).toMatch(pattern);
      const found = [
        ...readFileSync(join(ROOT, list), "utf8").matchAll(
          new RegExp(manager!.matchStrings[0]!, "g"),
        ),
      ];
      expect(found.length).toBeGreaterThan(1);
      expect(found[0]?.groups).toMatchObject({
        depName: expect.any(String),
        currentValue: expect.any(String),
      });
    }
  });
});
