import { pack } from "msgpackr";
import { describe, expect, it } from "vitest";
import { parseExecutorConfig } from "../../../executor/config.ts";
import { parseDownRequest } from "../../../executor/down.ts";
import { serversOf } from "../../../executor/link.ts";
import { decideOutcome } from "../../../executor/outcome.ts";
import { type ProcessEntry, parseStat } from "../../../executor/process-table.ts";
import { decideMembers } from "../../../executor/process-tree.ts";
import { decideNext } from "../../../executor/uplink.ts";
import { WordPace } from "../../../executor/word-pace.ts";
import { WorkerRoster } from "../../../executor/worker-roster.ts";
import { BerthError } from "../../../protocols/errors.ts";
import type { WorkerSpec } from "../../../protocols/executor.ts";

const entry = (pid: number, parent: number, session = pid, startedAt = 100): ProcessEntry => ({
  pid,
  parent,
  group: session,
  session,
  startedAt,
  cpuTicks: 0,
  memoryBytes: 0,
});

describe("the members of a run", () => {
  const members = (
    table: ProcessEntry[],
    options: { known?: ProcessEntry[]; marked?: number[] } = {},
  ) =>
    decideMembers({
      table,
      known: new Map((options.known ?? []).map((member) => [member.pid, member])),
      root: 10,
      startedAt: 100,
      isMarked: (pid) => options.marked?.includes(pid) ?? false,
    }).map(({ pid }) => pid);

  it("are children of children, and those of its sessions whose parents are gone", () => {
    expect(
      members([
        entry(1, 0),
        entry(10, 1),
        entry(11, 10, 10),
        entry(12, 11, 12),
        entry(13, 1, 12),
        entry(20, 1),
      ]),
    ).toEqual([10, 11, 12, 13]);
  });

  it("are found by the marker when parent and session are gone, with their own children", () => {
    expect(members([entry(1, 0), entry(30, 1), entry(31, 30, 31)], { marked: [30] })).toEqual([
      30, 31,
    ]);
  });

  it("are not strangers that have the pid of a dead member, nor anything older than the run", () => {
    expect(
      members([entry(11, 1, 11, 200), entry(40, 1, 10, 50)], { known: [entry(11, 10)] }),
    ).toEqual([]);
  });
});

describe("a line of /proc/<pid>/stat", () => {
  it("is read whatever the process calls itself, and a dead process is none", () => {
    const rest = "10 20 30 0 -1 0 0 0 0 0 5 6 7 8 20 0 1 0 12345 0 9";
    expect(parseStat(`7 (a) b) c) S ${rest}`)).toEqual({
      pid: 7,
      parent: 10,
      group: 20,
      session: 30,
      startedAt: 12345,
      cpuTicks: 26,
      memoryBytes: 9 * 4096,
    });
    expect(parseStat(`7 (x) Z ${rest}`)).toBeUndefined();
  });
});

describe("the outcome", () => {
  const base = {
    agent: "shell",
    ending: undefined,
    limitMs: 5,
    usage: undefined,
    failure: undefined,
    outOfMemory: undefined,
  };
  const end = { exitCode: 0, signal: null, stderrTail: "", killed: 2 };

  it("is the program's own end unless somebody ended it", () => {
    expect(decideOutcome({ ...base, end })).toEqual({ state: "succeeded", exit_code: 0 });
    expect(decideOutcome({ ...base, end, ending: "cancelled" })).toEqual({
      state: "cancelled",
      processes_killed: 2,
    });
    expect(decideOutcome({ ...base, end, ending: "timed_out" })).toEqual({
      state: "timed_out",
      limit_ms: 5,
    });
  });

  it("is a failure when the agent says so, whatever its exit code", () => {
    const outcome = decideOutcome({
      ...base,
      end,
      failure: "no credit",
      usage: { input_tokens: 1 },
    });
    expect(outcome).toMatchObject({
      state: "failed",
      usage: { input_tokens: 1 },
      error: { code: "agent.failed", message: expect.stringContaining("no credit") },
    });
  });

  it("is that memory ran out, with the limit, when a program fails for it; not one that was ended or succeeds (O1)", () => {
    const killed = { ...end, exitCode: null, signal: "SIGKILL" };
    const outOfMemory = { oomKills: 1, limitBytes: 512 * 1024 ** 2 };
    const error = {
      code: "job.out_of_memory",
      message: "out of memory: the worker's limit is 512 MiB",
    };
    expect(decideOutcome({ ...base, end: killed, outOfMemory })).toEqual({
      ...{ state: "failed", exit_code: 137, error },
    });
    expect(
      decideOutcome({ ...base, end: { ...end, exitCode: 1 }, outOfMemory, failure: "tool died" }),
    ).toMatchObject({ exit_code: 1, error });
    expect(
      decideOutcome({ ...base, end: killed, outOfMemory: { oomKills: 1, limitBytes: undefined } }),
    ).toMatchObject({
      error: { code: "job.out_of_memory", message: expect.not.stringMatching(/MiB/) },
    });
    const states = [
      decideOutcome({ ...base, end, outOfMemory }),
      decideOutcome({ ...base, end: killed, outOfMemory, ending: "cancelled" }),
      decideOutcome({ ...base, end: killed, outOfMemory, ending: "timed_out" }),
    ].map(({ state }) => state);
    expect(states).toEqual(["succeeded", "cancelled", "timed_out"]);
  });

  it("of a program that dies names its code, or its signal, and what it last complained of", () => {
    expect(
      decideOutcome({ ...base, end: { ...end, exitCode: 2, stderrTail: "oops\n" } }),
    ).toMatchObject({ exit_code: 2, error: { message: "shell ended with exit code 2: oops" } });
    expect(
      decideOutcome({ ...base, end: { ...end, exitCode: null, signal: "SIGSEGV" } }),
    ).toMatchObject({ exit_code: 139, error: { message: "shell ended with signal SIGSEGV" } });
  });
});

describe("after an answer to a frame", () => {
  it("goes on, tries again later and later, or gives up", () => {
    expect(decideNext({ ok: true, payload: { acked: 3 } }, 3, 0)).toBe("acknowledged");
    expect(decideNext(undefined, 3, 0)).toEqual({ pauseMs: 50 });
    expect(decideNext(undefined, 3, 60)).toEqual({ pauseMs: 2_000 });
    const busy = { code: "actor.overloaded", message: "", retryAfterMs: 700 };
    expect(decideNext({ ok: false, error: busy }, 3, 0)).toEqual({ pauseMs: 700 });
    const gone = decideNext({ ok: false, error: { code: "session.deleted", message: "" } }, 3, 0);
    expect(gone).toBeInstanceOf(BerthError);
    expect(decideNext({ ok: true, payload: { acked: 1 } }, 3, 0)).toMatchObject({
      code: "job.superseded",
    });
  });
});

describe("the pace of workers' words", () => {
  it("reads one that floods its host now and then, and the others as ever", () => {
    const pace = new WordPace();
    const read = Array.from({ length: 1_000 }, (_, ms) => pace.take("loud", ms)).filter(Boolean);
    expect(read.length).toBe(20);
    expect(pace.take("quiet", 999)).toBe(true);
    expect(pace.take("loud", 1_200)).toBe(true);
  });
});

describe("the roster", () => {
  const spec = { worker: "w" } as WorkerSpec;
  const check = (roster: WorkerRoster, now: number, isBrokerUp = true) =>
    roster
      .silent({ now, everyMs: 1_000, isBrokerUp, silentAfterMs: 3_000 })
      .map(({ worker }) => worker);

  it("finds a worker silent by the time in which it could have been heard, not by the clock", () => {
    const roster = new WorkerRoster();
    roster.add(spec, 0);
    for (const now of [0, 1_000, 2_000, 3_000]) expect(check(roster, now)).toEqual([]);
    expect(check(roster, 3_500)).toEqual(["w"]);
    expect(check(roster, 4_000, false)).toEqual([]);
    expect(check(roster, 6_500)).toEqual([]);
    expect(check(roster, 7_500)).toEqual(["w"]);
    // This process stood still for a minute.
    expect(check(roster, 67_500)).toEqual([]);
    expect(roster.heard("w", 5, 67_600)).toMatchObject({ worker: "w" });
    expect(roster.heard("stranger", 5, 67_600)).toBeUndefined();
    expect(roster.cpuMs("w")).toBe(5);
  });
});

describe("what comes from outside", () => {
  it("of the environment is checked, and the missing variable named", () => {
    const env = {
      BERTH_WORKER: "w",
      BERTH_NATS_URL: "nats://h",
      BERTH_WORKSPACE: "/w",
      PATH: "/bin",
    };
    expect(parseExecutorConfig(env)).toMatchObject({
      worker: "w",
      slots: 1,
      workspace: { mode: "job", isolated: false },
    });
    expect(() => parseExecutorConfig({ ...env, BERTH_WORKER: undefined })).toThrow("BERTH_WORKER");
    expect(() => parseExecutorConfig({ ...env, BERTH_SLOTS: "many" })).toThrow("BERTH_SLOTS");
    expect(() => parseExecutorConfig({ ...env, BERTH_WORKSPACE_MODE: "all" })).toThrow(
      "BERTH_WORKSPACE_MODE",
    );
  });

  it("of an address keeps the password out of the server's name", () => {
    expect(serversOf("nats://u:p%40ss@a:4222,b:4223")).toEqual({
      servers: ["a:4222", "b:4223"],
      user: "u",
      pass: "p@ss",
    });
    expect(serversOf("nats://a:4222")).toEqual({ servers: ["a:4222"] });
  });

  it.each([
    undefined,
    7,
    {},
    { type: "dance" },
    { type: "cancel", job_id: 1 },
    { type: "run", order: { job_id: "j" } },
  ])("as a request %j is refused", (request) => {
    expect(() => parseDownRequest(pack(request))).toThrow(
      expect.objectContaining({ code: "request.malformed" }),
    );
  });
});
