import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type CommandResult, runCommand } from "../../../../deploy/nats/command.ts";
import { ROOT } from "../../../support/source.ts";

const RUN_MS = 20_000;
const PRODUCTION = join(ROOT, "deploy/kubernetes/environments/production/kustomization.yaml");

const run = (script: string, ...args: string[]) =>
  runCommand(process.execPath, [join(ROOT, "deploy", script), ...args], { timeoutMs: RUN_MS });

async function inFile<T>(text: string, use: (path: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "berth-release-"));
  try {
    const path = join(folder, "file");
    await writeFile(path, text);
    return await use(path);
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe("release notes", () => {
  const changelog = `# Changelog

## [Unreleased]

## [0.2.0] - 2027-01-05

### Added

- A thing ([ADR 1](docs/adr/1.md)).

### Fixed

- Another.

## [0.1.0] - 2026-12-01

- The first.

[0.2.0]: https://example.com/0.2.0
`;
  const notes = (version: string) =>
    inFile(changelog, (path) => run("release-notes.mjs", version, path));

  it("are what the changelog says of that version, and nothing of the others", async () => {
    const { stdout, code } = await notes("v0.2.0");
    expect(code).toBe(0);
    expect(stdout).toBe(
      "### Added\n\n- A thing ([ADR 1](docs/adr/1.md)).\n\n### Fixed\n\n- Another.\n",
    );
    expect((await notes("0.1.0")).stdout).toBe("- The first.\n");
  });

  it.each(["0.3.0", "0.2", "unreleased"])(
    "of %s, of which nothing is said, are refused",
    async (version) => {
      expect(await notes(version)).toMatchObject({
        code: 1,
        stdout: "",
        stderr: `CHANGELOG.md says nothing of ${version}\n`,
      });
    },
  );

  it("can be had of our own changelog", async () => {
    const { stdout } = await run("release-notes.mjs", "unreleased");
    expect(stdout).toContain("### Added");
  });
});

describe("a release of production", () => {
  const before = readFileSync(PRODUCTION, "utf8");
  /** The file after these steps, or what the last one says. */
  const production = (...steps: string[]) =>
    inFile(before, async (path) => {
      let last: CommandResult | undefined;
      for (const step of steps)
        last = await run("kubernetes/release.mjs", "--file", path, ...step.split(" "));
      return { ...last!, text: await readFile(path, "utf8") };
    });

  it("begins with a canary beside what runs, at a version of its own", async () => {
    const { text, code } = await production("canary 0.2.0");
    expect(code).toBe(0);
    expect(text).toContain("  - ../../components/gateway-canary\n");
    expect(text).toContain(
      "{ name: berth-gateway-canary, newName: ghcr.io/example/berth-gateway, newTag: 0.2.0 }",
    );
    expect(text).toContain(
      "{ name: berth-gateway, newName: ghcr.io/example/berth-gateway, newTag: 0.1.0 }",
    );
  });

  it("leaves comments and everything else of the file as they are", async () => {
    const lines = before.split("\n");
    const added = (await production("canary 0.2.0")).text.split("\n");
    expect(added.filter((line) => !lines.includes(line))).toHaveLength(2);
    expect(lines.filter((line) => !added.includes(line))).toEqual([]);
  });

  it("is promoted to all that runs, and the canary goes", async () => {
    const { text } = await production("canary 0.2.0", "promote");
    expect(text).toBe(before.replaceAll(/(berth-\w+, newTag:) 0\.1\.0/g, "$1 0.2.0"));
  });

  it("goes back to where it was when the canary is given up, or when a version is named", async () => {
    expect((await production("canary 0.2.0", "rollback")).text).toBe(before);
    expect((await production("canary 0.2.0", "canary 0.3.0", "rollback")).text).toBe(before);
    expect((await production("canary 0.2.0", "promote", "rollback 0.1.0")).text).toBe(before);
  });

  it.each([
    ["promote", "There is no canary to promote."],
    ["rollback", "There is no canary: name the version to go back to."],
    ["canary", "Which version is to be tried?"],
    ["canary latest", '"latest" is no version such as 0.2.0.'],
    ["canary 0.1.0", "0.1.0 is what runs already."],
    ["push", "One of: canary VERSION, promote, rollback [VERSION]"],
  ])("that is %j is refused, and changes nothing", async (step, sentence) => {
    expect(await production(step)).toMatchObject({
      code: 1,
      stderr: `${sentence}\n`,
      text: before,
    });
  });
});

describe("the judge of a canary", () => {
  /** A Prometheus that knows these values, by track and by what is asked. */
  async function judge(values: Readonly<Record<string, number>>): Promise<CommandResult> {
    const server = createServer((request, response) => {
      const query = new URL(request.url ?? "/", "http://localhost").searchParams.get("query") ?? "";
      const track = /track="(\w+)"/.exec(query)?.[1];
      const what = query.includes("quantile")
        ? "seconds"
        : query.includes("5..")
          ? "errors"
          : "requests";
      const value = values[`${track} ${what}`];
      const result = value === undefined ? [] : [{ metric: {}, value: [0, String(value)] }];
      response.end(JSON.stringify({ status: "success", data: { result } }));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const { port } = server.address() as AddressInfo;
      return await run("kubernetes/judge-canary.mjs", `http://127.0.0.1:${port}/`);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  const usual = { "stable requests": 9_000, "stable errors": 0.001, "stable seconds": 0.02 };
  const good = { "canary requests": 1_000, "canary errors": 0.002, "canary seconds": 0.03 };

  it("lets one pass that does as well as the others", async () => {
    expect(await judge({ ...usual, ...good })).toMatchObject({ code: 0, stderr: "" });
  });

  it.each([
    [
      "fails more often",
      { "canary errors": 0.05 },
      "fails 5.00 % of its requests, the others 0.10 %",
    ],
    ["answers later", { "canary seconds": 0.4 }, "take 0.4 s, those of the others 0.02 s"],
    ["was asked too little", { "canary requests": 12 }, "had 12 requests within 15m"],
  ])("holds up one that %s", async (_what, worse, sentence) => {
    const { code, stderr } = await judge({ ...usual, ...good, ...worse });
    expect(code).toBe(1);
    expect(stderr).toContain(sentence);
  });

  it("holds up one of which nothing is known", async () => {
    expect(await judge(usual)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("had 0 requests"),
    });
  });
});
