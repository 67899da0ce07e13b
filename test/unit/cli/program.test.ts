import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { CliContext } from "../../../deploy/cli/context.ts";
import { checkAgents, isAtLeast, judgeDisk, versionIn } from "../../../deploy/cli/doctor-checks.ts";
import { EXIT } from "../../../deploy/cli/exit-codes.ts";
import { errorLine, runCli } from "../../../deploy/cli/program.ts";
import { BerthError } from "../../../protocols/errors.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { interruptsDouble, startersDouble, terminalDouble } from "./terminal-double.ts";

type Options = { readonly print: (line: string) => void };

async function berth(...args: string[]) {
  const { terminal, stdout, stderr } = terminalDouble();
  const keys = interruptsDouble();
  const started: object[] = [];
  let code = 0;
  let stops = 0;
  const context: CliContext = {
    terminal,
    clock: systemClock,
    environment: { key: "k", url: "http://127.0.0.1:1", noColor: true },
    cwd: "/",
    version: "1.2.3",
    readStdin: () => Promise.resolve(""),
    readSecret: () => Promise.resolve(""),
    onInterrupt: keys.onInterrupt,
    setExitCode: (value) => {
      code = value;
    },
    exitNow: () => undefined,
  };
  const start = (options: Options) => {
    started.push(options);
    options.print("berth ready");
    queueMicrotask(() => keys.press("SIGINT"));
    return Promise.resolve({
      stop: () => {
        stops += 1;
        return Promise.resolve();
      },
    });
  };
  await runCli(args, context, startersDouble(start));
  return { code, out: stdout.text, err: stderr.text, started, stops: () => stops };
}

describe("the command line", () => {
  test("--help lists every command and ends well", async () => {
    const { code, out } = await berth("--help");
    expect(code).toBe(EXIT.ok);
    for (const name of [
      "up",
      "run",
      "jobs",
      "logs",
      "cancel",
      "workers",
      "dead-letters",
      "doctor",
    ]) {
      expect(out).toContain(name);
    }
  });

  test("--version prints the version alone", async () => {
    expect(await berth("--version")).toMatchObject({ code: EXIT.ok, out: "1.2.3\n" });
  });

  test.each([
    [["bogus"], /unknown command/],
    [["run"], /missing required argument/],
    [["jobs", "--limit", "0"], /whole number of at least 1/],
    [["jobs", "--state", "nope"], /Allowed choices/],
    [["logs", "nope"], /neither a job .* nor a session/],
    [["run", "--timeout", "soon", "x"], /not a duration/],
    [["run", " "], /the prompt is empty/],
    [["run", "--key-stdin", "-"], /both the key and the prompt/],
    [["dead-letters", "purge"], /name the letters, or give --all/],
    [["dead-letters", "purge", "msg_1", "--all"], /name the letters, or give --all/],
  ])("%j is wrong usage, said in one sentence", async (args, sentence) => {
    const { code, err, out } = await berth(...args);
    expect(code).toBe(EXIT.usage);
    expect(err).toMatch(sentence);
    expect(out).toBe("");
  });

  test("a gateway that does not answer is transient, and the line names it", async () => {
    const { code, err } = await berth("jobs");
    expect(code).toBe(EXIT.transient);
    expect(err).toMatch(
      /^berth: the gateway at http:\/\/127\.0\.0\.1:1 does not answer \(gateway\.unavailable\); /,
    );
    expect(err.trimEnd().split("\n")).toHaveLength(1);
  });
});

describe("berth operator-key", () => {
  test("prints the key and nothing else on standard output", async () => {
    const { code, out } = await berth("operator-key", "--name", "ann");
    expect([code, out]).toEqual([EXIT.ok, "key-of-ann\n"]);
  });
});

describe("berth node and berth gateway", () => {
  test("stay up as berth up does, on the nats-server that is named", async () => {
    const nats = "nats://127.0.0.1:1";
    const node = await berth("node", "--nats", nats, "--end-workers");
    expect(node.started).toEqual([
      expect.objectContaining({ role: "node", nats, endWorkers: true }),
    ]);
    const gateway = await berth("gateway");
    expect(gateway.started).toEqual([
      expect.objectContaining({ role: "gateway", nats: undefined }),
    ]);
    for (const { code, stops } of [node, gateway]) expect([code, stops()]).toEqual([EXIT.ok, 1]);
  });
});

describe("berth up", () => {
  test("stays up until Ctrl-C, then stops gracefully", async () => {
    const { code, out, started, stops } = await berth("up", "--no-demo");
    expect(started).toEqual([expect.objectContaining({ role: "up", demo: false })]);
    expect(out).toBe("berth ready\n");
    expect(stops()).toBe(1);
    expect(code).toBe(EXIT.ok);
  });
});

describe("the line of an error", () => {
  const { terminal } = terminalDouble();

  test("says what failed, its code and when to try again", () => {
    const error = new BerthError("quota.hourly", undefined, { retryAfterMs: 61_500 });
    expect(errorLine(error, { terminal })).toBe(
      "berth: The hourly job limit is used up (quota.hourly); wait for the next hour, or use another tier, in 62 s",
    );
  });

  test("stays one line whatever the gateway sent", () => {
    const error = new BerthError("request.invalid", "a\nb\u001b[2J");
    expect(errorLine(error, { terminal })).not.toMatch(/\p{Cc}/u);
  });
});

describe("the doctor", () => {
  test("compares versions by number, not by letter", () => {
    expect(versionIn("nats-server: v2.15.1")).toEqual([2, 15, 1]);
    expect(isAtLeast([2, 9, 9], [2, 12, 0])).toBe(false);
    expect(isAtLeast([2, 12, 0], [2, 12, 0])).toBe(true);
    expect(isAtLeast([3, 0, 0], [2, 12, 5])).toBe(true);
    expect(isAtLeast([], [2, 12, 0])).toBe(false);
  });

  test("warns of a disk that fills and fails on one that is full", () => {
    expect(judgeDisk(10 * 1_024 ** 3, "/x").status).toBe("ok");
    expect(judgeDisk(1_024 ** 3, "/x").status).toBe("warn");
    expect(judgeDisk(1_024 ** 2, "/x")).toMatchObject({
      status: "fail",
      remedy: expect.any(String) as string,
    });
  });

  test("looks for the agents' tools on this machine only where workers are its processes", async () => {
    const folder = await mkdtemp(join(tmpdir(), "berth-doctor-"));
    const checksWith = async (driver: string) => {
      const url = "http://127.0.0.1:1";
      const keys = { free: "k", pro: "k", enterprise: "k", operator: "k" };
      const file = { url, metrics_url: url, nats_url: "nats://127.0.0.1:1", driver, keys };
      await writeFile(join(folder, ".berth", "dev.json"), JSON.stringify(file));
      return await checkAgents(folder);
    };
    try {
      await mkdir(join(folder, ".berth"));
      expect(await checksWith("docker")).toEqual([
        expect.objectContaining({ check: "workers", status: "ok" }),
      ]);
      expect((await checksWith("process")).map(({ check }) => check)).toEqual([
        "agent claude",
        "agent codex",
      ]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
