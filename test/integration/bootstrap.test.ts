/** The scripts behind `npm start` and `npm test`, run in a small checkout of their own. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const MAIN = `
console.log("main", process.pid, process.argv.slice(2).join(" "));
if (process.argv.includes("--stay")) {
  process.once("SIGTERM", () => process.exit(0));
  setInterval(() => {}, 1_000);
}
`;

interface Checkout extends AsyncDisposable {
  readonly dir: string;
  path(...parts: string[]): string;
  write(path: string, content: string): Promise<void>;
  /** Runs a script of the bootstrap folder to its end. */
  run(script: string, args?: readonly string[], env?: Record<string, string>): Promise<Ended>;
  evaluate(code: string): Promise<string>;
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The bootstrap scripts over two sources and a page, with this checkout's packages. */
async function makeCheckout(): Promise<Checkout> {
  const dir = await mkdtemp(join(tmpdir(), "berth-bootstrap-"));
  const path = (...parts: string[]) => join(dir, ...parts);
  const write = (name: string, content: string) => writeFile(path(name), content);
  await mkdir(path("gateway", "dashboard"), { recursive: true });
  await mkdir(path("executor"));
  for (const folder of ["bootstrap", "images"])
    await cp(join(ROOT, "deploy", folder), path("deploy", folder), { recursive: true });
  for (const name of ["package.json", "package-lock.json", "tsconfig.json"]) {
    await cp(join(ROOT, name), path(name));
  }
  await symlink(join(ROOT, "node_modules"), path("node_modules"));
  await write(
    "tsconfig.build.json",
    '{"extends":"./tsconfig.json","include":["deploy","executor","gateway"]}',
  );
  await write("deploy/main.ts", MAIN);
  await write("executor/main.ts", 'console.log("worker");\n');
  await write("gateway/dashboard/index.html", "<h1>page</h1>");
  return {
    dir,
    path,
    write,
    run: (script, args = [], env = {}) =>
      finished(start(path("deploy/bootstrap", script), args, env)),
    evaluate: async (code) =>
      (await finished(spawn(process.execPath, ["--input-type=module", "-e", code], { cwd: dir })))
        .stdout,
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}

function start(script: string, args: readonly string[], env: Record<string, string> = {}) {
  const { npm_lifecycle_event: _, ...inherited } = process.env;
  // Without Docker, whatever this machine has: those who want it say otherwise.
  const own = { BERTH_DRIVER: "process", ...env };
  return spawn(process.execPath, [script, ...args], { env: { ...inherited, ...own } });
}

async function finished(child: ChildProcess): Promise<Ended> {
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout!),
    text(child.stderr!),
    once(child, "close") as Promise<[number | null]>,
  ]);
  return { code, stdout, stderr };
}

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe("npm start", () => {
  it("builds once, then starts at once with the arguments that it was given", async () => {
    await using checkout = await makeCheckout();

    const first = await checkout.run("start.mjs", ["--no-demo"]);
    const second = await checkout.run("start.mjs", ["--no-demo"]);

    expect(first.stdout).toMatch(/^building \(tsc\)\nmain \d+ up --no-demo\n$/);
    expect(second.stdout).toMatch(/^main \d+ up --no-demo\n$/);
  });

  it("builds again when a source has changed, and carries the dashboard's files over", async () => {
    await using checkout = await makeCheckout();
    await checkout.run("start.mjs");
    await checkout.write("gateway/dashboard/index.html", "<h1>new page</h1>");

    const { stdout } = await checkout.run("start.mjs");

    expect(stdout).toContain("building");
    const page = await readFile(checkout.path("dist/gateway/dashboard/index.html"), "utf8");
    expect(page).toBe("<h1>new page</h1>");
  });

  it("keeps the last good build when a new one fails, and says so without a stack", async () => {
    await using checkout = await makeCheckout();
    await checkout.run("build.mjs");
    await checkout.write("deploy/main.ts", "const wrong: number = 'text';");

    const failed = await checkout.run("start.mjs");

    expect(failed.code).toBe(1);
    expect(failed.stdout).toContain("deploy/main.ts(1,7): error TS2322");
    expect(failed.stderr).toBe("The build failed: see the compiler's messages above.\n");
    expect(await readFile(checkout.path("dist/deploy/main.js"), "utf8")).toContain("--stay");
  });

  it("makes of the same sources the same worker's program in any folder", async () => {
    await using checkout = await makeCheckout();
    for (const layer of ["protocols", "runtime", "executor"])
      await cp(join(ROOT, layer), checkout.path(layer), { recursive: true });
    const bundle = (root: string) => `
      const { bundleExecutor } = await import(${JSON.stringify(join(root, "deploy/bootstrap/bundle.mjs"))});
      await bundleExecutor(${JSON.stringify(checkout.dir)});`;

    await checkout.evaluate(bundle(ROOT));
    const ours = await readFile(checkout.path("executor.mjs"), "utf8");
    await checkout.evaluate(bundle(checkout.dir));

    expect(await readFile(checkout.path("executor.mjs"), "utf8")).toBe(ours);
    expect(ours).not.toContain(checkout.dir);
  });

  it("names the Node that is needed when this one is too old", async () => {
    await using checkout = await makeCheckout();
    await checkout.write("package.json", '{"type":"module","engines":{"node":">=99.1"}}');

    const { code, stderr } = await checkout.run("start.mjs");

    expect(code).toBe(1);
    expect(stderr).toContain("Berth needs Node 99.1 or newer");
    expect(stderr.trim().split("\n")).toHaveLength(1);
  });

  it("installs the lock file's packages when they are not what is there, and names a failure", async () => {
    await using checkout = await makeCheckout();
    await mkdir(checkout.path("bin"));
    await writeFile(checkout.path("bin/npm"), '#!/bin/sh\necho "npm $*"\nexit 7\n', {
      mode: 0o755,
    });
    const lock = JSON.parse(await readFile(checkout.path("package-lock.json"), "utf8"));
    lock.packages["node_modules/zod"].version = "99.0.0";
    await checkout.write("package-lock.json", JSON.stringify(lock));

    const { code, stdout, stderr } = await checkout.run("start.mjs", [], {
      PATH: `${checkout.path("bin")}:${process.env["PATH"]}`,
    });

    expect(code).toBe(1);
    expect(stdout).toMatch(/^installing packages \(npm ci\)\nnpm ci /);
    expect(stderr).toContain("The packages could not be installed");
  });

  it.each([
    ["directly", (command: string[]) => command],
    // The second command keeps the shell from handing its process to the first.
    ["through a shell", (command: string[]) => ["sh", "-c", `${command.join(" ")}; true`]],
  ])("ends when the npm that started it %s is killed", async (_how, wrap) => {
    await using checkout = await makeCheckout();
    await checkout.run("build.mjs");
    const script = checkout.path("deploy/bootstrap/start.mjs");
    const [command = "", ...args] = wrap([process.execPath, script, "--stay"]);
    const child = `import { spawn } from "node:child_process";
      spawn(${JSON.stringify(command)}, ${JSON.stringify(args)}, { stdio: "inherit" });
      setInterval(() => {}, 1_000);`;
    const npm = spawn(process.execPath, ["--input-type=module", "-e", child], {
      env: { ...process.env, BERTH_DRIVER: "process", npm_lifecycle_event: "start" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      const [line] = (await once(npm.stdout, "data")) as [Buffer];
      const pid = Number(line.toString().split(" ")[1]);
      expect(isAlive(pid)).toBe(true);

      npm.kill("SIGKILL");

      await eventually(() => !isAlive(pid), { within: 10_000, name: "start.mjs gone" });
    } finally {
      npm.kill("SIGKILL");
    }
  });
});

describe("npm start where Docker answers", () => {
  /** A stand-in of the docker command that has no image until it builds one, or one of this build; it notes what it is told to do. */
  async function withDocker(checkout: Checkout, build?: string) {
    const log = checkout.path("docker.log");
    const labels = { "berth.build": build };
    const image = JSON.stringify([{ Id: "sha256:1", Size: 1, Config: { Labels: labels } }]);
    const script = `#!/bin/sh
case "$1" in
  version) echo 20.10 ;;
  image) ${build === undefined ? `grep -qs ^build ${log} || exit 1;` : ""} echo '${image}' ;;
  buildx | rmi) exit 1 ;;
  *) echo "$@" >> ${log} ;;
esac
`;
    await mkdir(checkout.path("bin"), { recursive: true });
    await writeFile(checkout.path("bin/docker"), script, { mode: 0o755 });
    return { BERTH_DRIVER: "auto", PATH: `${checkout.path("bin")}:${process.env["PATH"]}` };
  }

  const done = (checkout: Checkout) =>
    readFile(checkout.path("docker.log"), "utf8").catch(() => "");

  it.each([
    ["is missing", undefined],
    ["is of another build", "other"],
  ])(
    "says how to build the image of workers when it %s, and waits for no answer that nobody can give",
    async (what, build) => {
      await using checkout = await makeCheckout();

      const { stdout } = await checkout.run("start.mjs", [], await withDocker(checkout, build));

      expect(stdout.split("\n")).toEqual([
        "building (tsc)",
        `Docker answers, and the image of workers berth-executor ${what}: "npm run image -- executor" builds it`,
        expect.stringMatching(/^main /),
        "",
      ]);
      expect(await done(checkout)).toBe("");
    },
  );

  it("says nothing of an image of this build, nor of another image that is wanted", async () => {
    await using checkout = await makeCheckout();
    await checkout.run("build.mjs");
    const build = createHash("sha256")
      .update(await readFile(checkout.path("dist/executor.mjs")))
      .digest("hex");

    const current = await checkout.run("start.mjs", [], await withDocker(checkout, build));
    const environment = await withDocker(checkout);
    const own = { ...environment, BERTH_DOCKER_IMAGE: "mine" };
    const another = await checkout.run("start.mjs", [], own);

    expect(current.stdout).toMatch(/^main .*\n$/);
    expect(another.stdout).toMatch(/^main .*\n$/);
  });

  /** Under a terminal of its own, at which this is typed. */
  async function runAtTerminal(checkout: Checkout, typed: string): Promise<string> {
    const command = `${process.execPath} ${checkout.path("deploy/bootstrap/start.mjs")}`;
    const child = spawn("script", ["--quiet", "--return", "--command", command, "/dev/null"], {
      env: { ...process.env, ...(await withDocker(checkout)) },
    });
    child.stdout.once("data", () => child.stdin.write(typed));
    return (await finished(child)).stdout;
  }

  it.each([
    ["builds the image when that is what the person at the terminal wants", "\n", true],
    ["does not when it is not", "n\n", false],
    ["does not when the terminal has no answer", "\u0004", false],
  ])("%s", async (_name, typed, isBuilt) => {
    await using checkout = await makeCheckout();
    await checkout.run("build.mjs");

    const output = await runAtTerminal(checkout, typed);

    expect(output).toContain("is missing. Build it now? [Y/n]");
    expect(output).toMatch(/^main /m);
    const told = await done(checkout);
    expect(told === "" ? [] : told.trim().split("\n")).toEqual(
      isBuilt
        ? [
            expect.stringMatching(/^pull --quiet node:/),
            expect.stringMatching(/^build .*--tag berth-executor .*--build-arg AGENTS=@anthropic/),
          ]
        : [],
    );
  });
});

describe("building at once", () => {
  it("three at a time leave one whole build, made by one of them", async () => {
    await using checkout = await makeCheckout();

    const ended = await Promise.all([1, 2, 3].map(() => checkout.run("build.mjs")));

    expect(ended.map(({ code }) => code)).toEqual([0, 0, 0]);
    expect(ended.filter(({ stdout }) => stdout.includes("building"))).toHaveLength(1);
    expect(await readFile(checkout.path("dist/deploy/main.js"), "utf8")).toContain("--stay");
  });

  it.each(["4194304\n", ""])(
    "takes over the lock of a process that is gone (%j)",
    async (content) => {
      await using checkout = await makeCheckout();
      await mkdir(checkout.path(".berth"));
      await checkout.write(".berth/bootstrap.lock", content);

      const { code, stdout } = await checkout.run("build.mjs");

      expect({ code, stdout }).toEqual({ code: 0, stdout: "building (tsc)\n" });
    },
  );
});

describe("what npm test runs", () => {
  it("gets a signal that was sent to npm test, which lives until it has cleaned up", async () => {
    await using checkout = await makeCheckout();
    const child = `process.once("SIGTERM", () => process.exit(console.log("cleaned up") ?? 3));
      setInterval(() => {}, 1_000);
      process.kill(process.ppid, "SIGTERM");`;

    const stdout = await checkout.evaluate(`
      import { run } from "./deploy/bootstrap/command.mjs";
      const settings = { timeoutMs: 30_000, isMain: true };
      console.log("ended with", await run(process.execPath, ["-e", ${JSON.stringify(child)}], settings));`);

    expect(stdout).toBe("cleaned up\nended with 3\n");
  });
});

describe("the last line of a test run", () => {
  const report = {
    numPassedTests: 5,
    numFailedTests: 1,
    numPendingTests: 2,
    numTodoTests: 0,
    testResults: [
      { status: "failed", assertionResults: [{ status: "failed" }, { status: "passed" }] },
      { status: "failed", assertionResults: [] },
    ],
  };
  const green = { ...report, numFailedTests: 0, numPendingTests: 0, testResults: [] };

  it.each([
    [
      "counts a file that could not be loaded as a failure",
      report,
      1,
      "5 passed, 2 failed, 2 skipped",
    ],
    ["leaves out what was not skipped", green, 0, "5 passed, 0 failed"],
    ["fails a run that failed without a failed test", green, 1, "5 passed, 1 failed"],
    ["fails a run that left no report", undefined, null, "0 passed, 1 failed"],
  ])("%s", async (_name, content, code, line) => {
    await using checkout = await makeCheckout();
    if (content) await checkout.write("report.json", JSON.stringify(content));

    const stdout = await checkout.evaluate(
      `import { summarize } from "./deploy/bootstrap/summary.mjs";
       console.log(summarize("report.json", ${code}).line);`,
    );

    expect(stdout).toBe(`${line}\n`);
  });
});
