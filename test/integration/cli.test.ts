import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startBerth, type TestBerth } from "../support/berth.ts";
import { type CommandOptions, startCommand } from "../support/berth-command.ts";
import { eventually } from "../support/eventually.ts";
import { pidOf } from "../support/process-driver-rig.ts";

let berth: TestBerth;
beforeAll(async () => {
  berth = await startBerth({ tiers: { pro: { idleTimeoutMs: 60_000 } } });
});
afterAll(() => berth.stop());

interface EventLine {
  readonly seq: number;
  readonly type: string;
  readonly job_id: string;
  readonly session_id: string;
  readonly data: Record<string, unknown>;
}

const asUser = (options: CommandOptions = {}) => ({
  url: berth.url,
  key: berth.keys.pro,
  ...options,
});
const start = (args: readonly string[], options?: CommandOptions) =>
  startCommand(args, asUser(options));

async function run(args: readonly string[], options?: CommandOptions) {
  await using command = start(args, options);
  const code = await command.done();
  return { code, out: command.out(), err: command.err() };
}

const lines = (text: string): EventLine[] =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as EventLine);

/** Runs a script and gives its events. */
async function events(script: string): Promise<EventLine[]> {
  const { out, err } = await run(["run", "--json", script]);
  expect(out, err).not.toBe("");
  return lines(out);
}

describe("berth run", () => {
  test("keeps stdout and stderr apart and exits with the job's code", async () => {
    const { code, out, err } = await run(["run", "echo to out; echo to err >&2; exit 7"]);
    expect(out).toBe("to out\n");
    expect(err).toContain("to err\n");
    expect(err).toContain("exit code 7");
    expect(code).toBe(7);
  });

  test("reads the prompt from standard input for -", async () => {
    const { code, out } = await run(["run", "-"], { stdin: "echo from stdin" });
    expect([code, out]).toEqual([0, "from stdin\n"]);
  });

  test("as JSON prints the log itself, gapless, from job.queued to the end", async () => {
    const all = await events("echo one");
    expect(all[0]?.type).toBe("job.queued");
    expect(all.at(-1)?.type).toBe("job.succeeded");
    expect(all.map(({ seq }) => seq)).toEqual(all.map((_, at) => at + 1));
  });

  test("goes on in the session that is named", async () => {
    const [first] = await events("echo one");
    const session = first?.session_id ?? "";
    const { out } = await run(["run", "--json", "--session", session, "echo two"]);
    expect(lines(out).every(({ session_id }) => session_id === session)).toBe(true);
  });

  test("a time limit ends the job with 124", async () => {
    const { code, err } = await run(["run", "--timeout", "1s", "sleep 30"]);
    expect(code, err).toBe(124);
    expect(err).toContain("timed out");
  });

  test.each([
    [["run", "--agent", "nobody", "x"], {}, 2, "agent.unknown"],
    [["run", "x"], { key: "brt_wrong" }, 3, "auth.invalid"],
    [["job", "job_00000000000000000000000000"], {}, 4, "job.not_found"],
    [["tenants"], {}, 3, "auth.forbidden"],
  ] as const)("%j fails with its code on one line", async (args, options, exit, code) => {
    const { code: got, err } = await run(args, options);
    expect(err).toContain(`(${code})`);
    expect(err.trimEnd().split("\n")).toHaveLength(1);
    expect(got).toBe(exit);
  });
});

describe("Ctrl-C in berth run", () => {
  test("detaches first: the job goes on, and the way back is printed", async () => {
    await using command = start(["run", "echo begun; sleep 3; echo finished"]);
    await command.says("begun");
    command.signal("SIGINT");
    await command.says("Detached from job_");
    expect(await command.done()).toBe(130);
    const [, id = "", seq = ""] = /berth logs -f (job_\w+) --after (\d+)/.exec(command.err()) ?? [];
    const later = await run(["logs", "-f", id, "--after", seq]);
    expect(later.code, later.err).toBe(0);
    expect(later.out).toBe("finished\n");
  });

  test("cancels second: the process is gone when the command ends", async () => {
    await using command = start(["run", "echo pid=$$; sleep 300"]);
    await command.says(/pid=\d+/);
    const pid = Number(/pid=(\d+)/.exec(command.out())?.[1]);
    command.signal("SIGINT");
    await command.says("Press Ctrl-C again");
    command.signal("SIGINT");
    expect(await command.done()).toBe(130);
    expect(command.err()).toContain("cancelled by");
    expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
  });
});

describe("berth logs", () => {
  test("--after prints what comes after that seq and nothing twice", async () => {
    const all = await events("echo a; echo b >&2");
    const middle = all[1];
    const { out } = await run([
      "logs",
      "--json",
      "--after",
      String(middle?.seq),
      middle?.job_id ?? "",
    ]);
    expect(lines(out)).toEqual(all.slice(2));
  });

  test("of a session holds the events of all its jobs", async () => {
    const [first] = await events("echo one");
    const session = first?.session_id ?? "";
    await run(["run", "--session", session, "echo two"]);
    const { out, code } = await run(["logs", session]);
    expect([code, out]).toEqual([0, "one\ntwo\n"]);
  });

  test("-f of a session follows jobs that come later, until Ctrl-C", async () => {
    const [first] = await events("echo one");
    const session = first?.session_id ?? "";
    await using command = start(["logs", "-f", session]);
    await command.says("one");
    await run(["run", "--session", session, "echo two"]);
    await command.says("two");
    command.signal("SIGINT");
    expect(await command.done()).toBe(130);
  });
});

describe("berth cancel", () => {
  test("--wait returns when the job is cancelled", async () => {
    await using command = start(["run", "--json", "echo begun; sleep 300"]);
    await command.says("begun");
    const id = lines(command.out())[0]?.job_id ?? "";
    const { code, out } = await run(["cancel", "--wait", "--json", id]);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ id, state: "cancelled" });
    expect(await command.done()).toBe(130);
  });
});

describe("lists", () => {
  test("jobs and sessions show what was run, as a table and as JSON", async () => {
    const [first] = await events("echo listed");
    const { out: table } = await run(["jobs", "--limit", "200"]);
    expect(table).toMatch(/^JOB +STATE +AGENT/);
    expect(table).toContain(first?.job_id);
    const { out: json } = await run(["jobs", "--json", "--limit", "200"]);
    const jobs = JSON.parse(json) as { id: string; state: string }[];
    expect(jobs.find(({ id }) => id === first?.job_id)?.state).toBe("succeeded");
    expect((await run(["sessions", "--limit", "200"])).out).toContain(first?.session_id);
  });

  test("operators see workers, queues, tenants, nodes and dead letters", async () => {
    const key = berth.keys.operator;
    await events("echo warm");
    const workers = await eventually(async () => {
      const { out } = await run(["workers", "--json"], { key });
      const list = JSON.parse(out) as { tier: string; phase: string }[];
      return list.length > 0 && list;
    });
    expect(workers.map(({ tier }) => tier)).toContain("pro");
    for (const command of ["workers", "queues", "tenants", "nodes"]) {
      const { code, out, err } = await run([command], { key });
      expect(code, err).toBe(0);
      expect(out.split("\n").length, command).toBeGreaterThan(2);
    }
    expect((await run(["dead-letters", "--json"], { key })).out).toBe("[]\n");
  });
});

describe("berth workers and berth worker", () => {
  const key = () => berth.keys.operator;
  interface Row {
    readonly id: string;
    readonly tier: string;
    readonly phase: string;
    readonly cpus_used: number | null;
    readonly memory_bytes: number | null;
    readonly processes: number | null;
    readonly jobs: readonly string[];
  }

  test("show what a busy worker uses, whose it is, and keep its log when it has been killed", async () => {
    await using running = start(["run", "--json", "while :; do :; done"]);
    await running.says("job.started");
    const [first] = lines(running.out());
    const busy = await eventually(
      async () => {
        const { out } = await run(["workers", "--json"], { key: key() });
        const rows = JSON.parse(out) as Row[];
        const row = rows.find(({ tier }) => tier === "pro");
        return row?.phase === "busy" && (row.cpus_used ?? 0) > 0.2 && row;
      },
      { within: 30_000, name: "its CPU shows" },
    );
    expect(busy.jobs).toEqual([first?.job_id]);
    expect(busy.memory_bytes).toBeGreaterThan(10 * 1024 ** 2);
    expect(busy.processes).toBeGreaterThan(1);
    const { out: table } = await run(["workers"], { key: key() });
    expect(table).toMatch(
      /^WORKER +STATE +TIER +FOR +SLOTS +CPU +MEM +IDLE LEFT +AGE +IMAGE +DRIVER +HOST$/m,
    );
    expect(table).toMatch(
      new RegExp(`^${busy.id} +busy +pro +dev-pro/dev +1/3 +\\d\\.\\d\\d/2 +\\d+ MiB +- `, "m"),
    );
    const { out: shown } = await run(["worker", "show", busy.id], { key: key() });
    expect(shown).toMatch(/^serves +dev-pro\/dev \(pro\)$/m);
    expect(shown).toMatch(new RegExp(`^job +${first?.job_id}$`, "m"));
    const alive = await run(["worker", "log", busy.id], { key: key() });
    expect([alive.code, alive.err]).toEqual([0, ""]);
    expect(alive.out).toContain(busy.id);
    process.kill(pidOf(berth.dataDir, busy.id), "SIGKILL");
    await eventually(
      async () => (await run(["worker", "show", busy.id], { key: key() })).code === 4,
      { within: 20_000, name: "it has gone" },
    );
    const kept = await run(["worker", "log", busy.id], { key: key() });
    expect([kept.code, kept.out]).toEqual([0, alive.out]);
    expect((await run(["worker", "log", "wrk_never"], { key: key() })).code).toBe(4);
    // An admin may look into its own tenant's workers; of one that is gone nobody says whose it was.
    expect((await run(["worker", "log", busy.id])).code).toBe(4);
    running.signal("SIGINT");
    running.signal("SIGINT");
    await running.done();
  }, 120_000);

  test("an idle worker shows how long it stays", async () => {
    await events("echo done");
    const shown = await eventually(
      async () => {
        const { out } = await run(["workers", "--tenant", "dev-pro"], { key: key() });
        return / idle +pro .* (\d+s|1m) +\S+ ago /.test(out) && out;
      },
      { within: 20_000, name: "it is idle" },
    );
    expect(shown).not.toContain("enterprise");
  });
});

describe("berth actors and berth actor", () => {
  test("show what an actor waits on while its job runs, and order it about", async () => {
    const key = berth.keys.operator;
    await using running = start(["run", "--json", "sleep 30"]);
    await running.says("job.started");
    const [first] = lines(running.out());
    const name = `dev-pro/session/${first?.session_id}`;
    const listed = await run(["actors", "--kind", "session", "--tenant", "dev-pro"], { key });
    expect(listed.out).toMatch(/^ACTOR +NODE +WAITING +OLDEST +TURNS +FOR +STATE$/m);
    expect(listed.out).toContain(name);
    const shown = await run(["actor", "show", name], { key });
    const node = berth.role.node.id;
    expect(shown.out).toMatch(new RegExp(`^owner +${node}, partition \\d+$`, "m"));
    expect(shown.out).toMatch(/^record +page of the journal, revision \d+$/m);
    expect(shown.out).toMatch(/^reminders +watch-job_/m);
    expect(shown.out).not.toContain("own state");
    expect((await run(["actor", "show", "--state", name], { key })).out).toContain("own state");
    const json = await run(["actors", "--json", "--state", "idle", "--limit", "1"], { key });
    expect(JSON.parse(json.out)).toMatchObject([{ node, state: { type: "idle" } }]);
    const park = ["actor", "park", "--reason", "looking", "--for", "10m", name];
    expect((await run(park, { key })).out).toBe(`park is ordered of ${name}\n`);
    await eventually(
      async () =>
        expect((await run(["actor", "show", name], { key })).out).toMatch(/by operator: looking/),
      { name: "it is parked", within: 20_000 },
    );
    expect((await run(["actor", "restart", name], { key })).code).toBe(0);
    expect(await run(["actor", "show", "dev-pro/session/ses_nobody"], { key })).toMatchObject({
      code: 4,
    });
    expect((await run(["actor", "show", "nonsense"], { key })).code).toBe(2);
    expect((await run(["actors"])).code).toBe(3);
    running.signal("SIGINT");
    await running.done();
  }, 120_000);
});

describe("berth doctor", () => {
  test("finds a gateway that is well, and says what is missing otherwise", async () => {
    const well = await run(["doctor", "--json"]);
    const findings = JSON.parse(well.out) as { check: string; status: string; remedy?: string }[];
    expect(findings.find(({ check }) => check === "gateway")?.status).toBe("ok");
    const ill = await run(["doctor"], { url: "http://127.0.0.1:9" });
    expect(ill.code).toBe(1);
    expect(ill.out).toMatch(/fail +gateway .*\n +-> start it with "npm start"/);
  });
});

describe("the development file", () => {
  test("found from a folder below it, is all that a command needs", async () => {
    const root = await mkdtemp(join(tmpdir(), "berth-cli-"));
    try {
      const inner = join(root, "deep", "down");
      await mkdir(inner, { recursive: true });
      await mkdir(join(root, ".berth"));
      const file = {
        url: berth.url,
        metrics_url: berth.metricsUrl,
        nats_url: "nats://127.0.0.1:1",
        keys: berth.keys,
      };
      await writeFile(join(root, ".berth", "dev.json"), JSON.stringify(file));
      await using command = startCommand(["run", "--tier", "free", "echo free"], { cwd: inner });
      expect(await command.done(), command.err()).toBe(0);
      expect(command.out()).toBe("free\n");
    } finally {
      await rm(root, { recursive: true, force: true });
    }
  });
});
