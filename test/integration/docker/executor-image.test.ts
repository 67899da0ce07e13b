/** The image of workers: what is in it, what is not, and that the same sources make the same. */
import { randomUUID } from "node:crypto";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { BUILD_LABEL, executorBuild } from "../../../deploy/images/executor-build.ts";
import { version } from "../../../deploy/version.ts";
import { WAITS_FOR_IDENTITY } from "../../../executor/identity.ts";
import { buildExecutorImage } from "../../support/container.ts";
import { describeDocker, docker, EXECUTOR_IMAGE } from "../../support/docker.ts";
import { eventually } from "../../support/eventually.ts";

const SECOND_NS = 1_000_000_000;
const BUILD_MS = 20 * 60_000;
/** Without agents. */
const SMALL_BYTES = 350_000_000;
const megabytes = (bytes: number) => `${Math.round(bytes / 1_000_000)} MB`;

/** Standard output of a shell in a new container, as a worker is held, without a network. */
async function outputOf(command: string): Promise<string> {
  const streams = [new PassThrough(), new PassThrough()];
  const told = Promise.all(streams.map((stream) => text(stream)));
  const [{ StatusCode: code }] = await docker.run(EXECUTOR_IMAGE, ["-c", command], streams, {
    Entrypoint: ["sh"],
    Tty: false,
    HostConfig: { ...hardened, AutoRemove: true },
  });
  for (const stream of streams) stream.end();
  const [output = "", errors] = await told;
  expect(code, errors).toBe(0);
  return output;
}

const hardened = {
  ReadonlyRootfs: true,
  CapDrop: ["ALL"],
  SecurityOpt: ["no-new-privileges"],
  NetworkMode: "none",
};

const linesOf = async (command: string) =>
  (await outputOf(command)).split("\n").filter((line) => line !== "");

describeDocker("the image of workers", () => {
  test("names its build, so that a node finds one that is not its own's", async () => {
    const { Config: config } = await docker.getImage(EXECUTOR_IMAGE).inspect();

    expect(config.Labels).toMatchObject({
      [BUILD_LABEL]: await executorBuild(),
      "org.opencontainers.image.version": version,
    });
  });

  test("runs the executor as user 1000, told nothing but where its agents are and how it is told the rest", async () => {
    const { Config: config } = await docker.getImage(EXECUTOR_IMAGE).inspect();

    expect(config.User).toBe("1000:1000");
    expect(config.Entrypoint).toEqual([
      "/opt/berth/closed",
      "/opt/berth/node",
      "/opt/berth/executor.mjs",
    ]);
    expect(config.Env.map((line) => line.replace(/=.*/, "")).toSorted()).toEqual([
      "BERTH_AGENT_PATH",
      "BERTH_HEALTH_PORT",
      "BERTH_IDENTITY",
      "BERTH_ISOLATED",
      "NODE_ENV",
      "PATH",
    ]);
  });

  test("holds what agents reach for, and the agents", async () => {
    const tools = ["git", "curl", "python3", "claude", "codex"];
    const lines = await linesOf(
      `for tool in ${tools.join(" ")}; do $tool --version | head -1; done; command -v ipcrm; id -un; ls /opt/berth`,
    );

    expect(lines).toEqual([
      expect.stringMatching(/^git version \d/),
      expect.stringMatching(/^curl \d/),
      expect.stringMatching(/^Python 3/),
      expect.stringMatching(/Claude Code/),
      expect.stringMatching(/^codex/),
      "/usr/bin/ipcrm",
      "berth-agent",
      ...["closed", "executor.mjs", "node"],
    ]);
  });

  test("holds no settings of npm, no list of where packages came from, no program that runs as another user", async () => {
    const unwanted = [".npmrc", ".netrc", ".package-lock.json", "package-lock.json", "_cacache"];
    const found = [...unwanted.map((name) => `-name ${name}`), "-type f -perm /6000"];

    // With one that is there, so that a search that fails is seen.
    expect(
      await linesOf(
        `find / -xdev \\( -name executor.mjs -o ${found.join(" -o ")} \\) 2>/dev/null || :`,
      ),
    ).toEqual(["/opt/berth/executor.mjs"]);
  });

  test("lets its user write nowhere but in the folders that are mounted over, its home and those for everybody", async () => {
    const writable = "find / -xdev -user 1000 -o -xdev -perm -o+w ! -type l";

    expect(await linesOf(`{ ${writable}; } 2>/dev/null | sort || :`)).toEqual([
      "/berth",
      "/berth/workspace",
      "/home/berth-agent",
      "/run/lock",
      "/tmp",
      "/var/tmp",
    ]);
  });

  test("is healthy before it is told who it is, and ends with its input", async () => {
    const { Config: config } = await docker.getImage(EXECUTOR_IMAGE).inspect();
    const container = await docker.createContainer({
      Image: EXECUTOR_IMAGE,
      ...{ OpenStdin: true, StdinOnce: true },
      Healthcheck: { Test: config.Healthcheck?.Test, Interval: SECOND_NS, Retries: 3 },
      HostConfig: hardened,
    });
    try {
      const input = await container.attach({ stream: true, stdin: true, hijack: true });
      await container.start();
      await eventually(async () => (await container.inspect()).State.Health?.Status === "healthy", {
        within: 30_000,
        name: "Docker calls it healthy",
      });
      const logs = await container.logs({ stdout: true });
      expect(logs.toString()).toContain(WAITS_FOR_IDENTITY);

      input.end();
      expect(await container.wait()).toEqual({ Error: null, StatusCode: 1 });
    } finally {
      await container.remove({ force: true });
    }
  });

  test("has the same layer of ours when it is made again, whatever stands below it", {
    timeout: BUILD_MS,
  }, async () => {
    const tag = `berth-executor-test-${randomUUID().slice(0, 8)}`;
    try {
      await buildExecutorImage(tag, "");
      const [first, again] = await Promise.all(
        [EXECUTOR_IMAGE, tag].map((image) => docker.getImage(image).inspect()),
      );

      expect(again?.RootFS.Layers?.at(-1)).toBe(first?.RootFS.Layers?.at(-1));
      expect(again?.RootFS.Layers).not.toEqual(first?.RootFS.Layers);
      const [withAgents = 0, without = 0] = [first?.Size, again?.Size];
      process.stdout.write(
        `the image of workers: ${megabytes(without)}, with agents ${megabytes(withAgents)}\n`,
      );
      expect(without).toBeLessThan(SMALL_BYTES);
    } finally {
      await docker.getImage(tag).remove({ force: true });
    }
  });
});
