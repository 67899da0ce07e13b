/**
 * How `npm test` comes by a Docker Engine: in a namespace of network, files and processes of its own, where none runs, so
 * that this machine's engine, its networks and its rules are not touched. Needs root, as what it tests does.
 */
import { expect, test } from "vitest";
import { runCommand } from "../../../deploy/nats/command.ts";
import { describeDocker } from "../../support/docker.ts";
import { ROOT } from "../../support/source.ts";

/** Less than a test has, so that nothing outlives one. */
const PATIENCE_MS = 50_000;

/** The end of the script that is run takes everything with it that it started. */
const OWN = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
/** But not one that this checkout lies in. */
const FOLDERS = ["/run", "/var/lib/docker", "/etc/docker", "/tmp"].filter(
  (folder) => !ROOT.startsWith(`${folder}/`),
);

/** What the script printed, line by line. `docker(...)` in it is a docker command's standard output, or undefined. */
async function runWithoutEngine(script: string): Promise<string[]> {
  const whole = `
    import { spawnSync } from "node:child_process";
    import { ensureDockerEngine } from "./deploy/bootstrap/docker-engine.mjs";
    import { tryDocker } from "./deploy/images/docker.mjs";
    const docker = (...args) => tryDocker(args);
    ${script}`;
  const shell = `set -e
    for folder in ${FOLDERS.join(" ")}; do mkdir -p $folder; mount -t tmpfs -o mode=1777 tmpfs $folder; done
    ip link set lo up
    exec "$0" --input-type=module --eval "$1"`;
  const { code, stderr, stdout } = await runCommand(
    "unshare",
    [...OWN, "sh", "-c", shell, process.execPath, whole],
    { timeoutMs: PATIENCE_MS, cwd: ROOT },
  );
  expect(code, stderr + stdout).toBe(0);
  return stdout.trim().split("\n");
}

describeDocker("the engine of the tests", () => {
  test("is started where none runs, and stopped by itself alone: its containers live on, and the next one finds them", async () => {
    const lines = await runWithoutEngine(`
      const first = await ensureDockerEngine();
      const box = "/tmp/box";
      spawnSync("sh", ["-c", \`mkdir -p \${box} && cp -L --parents $(command -v sleep) \\
        $(ldd $(command -v sleep) | grep -o "/[^ ]*") \${box} && tar -C \${box} -cf \${box}.tar .\`]);
      docker("import", box + ".tar", "box");
      const sleep = spawnSync("which", ["sleep"], { encoding: "utf8" }).stdout.trim();
      docker("run", "--detach", "--name", "one", "--network", "none", "box", sleep, "600");
      const pid = () => docker("inspect", "--format", "{{.State.Running}} {{.State.Pid}}", "one");
      const before = pid();
      await first.stop();
      console.log("gone:", docker("info") === undefined);
      const second = await ensureDockerEngine();
      console.log("alive:", before.startsWith("true ") && pid() === before);
      const borrowed = await ensureDockerEngine();
      await borrowed.stop();
      console.log("not ours:", docker("info") !== undefined);
      docker("rm", "--force", "one");
      await second.stop();
      console.log("gone:", docker("info") === undefined);`);

    expect(lines).toEqual([
      "starting a Docker Engine (dockerd)",
      "gone: true",
      "starting a Docker Engine (dockerd)",
      "alive: true",
      "not ours: true",
      "gone: true",
    ]);
  });

  test("is named as missing in one sentence where it cannot be started", async () => {
    const lines = await runWithoutEngine(`
      process.env.DOCKER_HOST = "unix:///run/nowhere.sock";
      console.log(await ensureDockerEngine());
      delete process.env.DOCKER_HOST;
      process.getuid = () => 1000;
      console.log(await ensureDockerEngine());`);

    expect(lines).toEqual([
      "No Docker Engine at DOCKER_HOST: what needs Docker is skipped.",
      "undefined",
      "No Docker Engine answers, and only root on Debian or Ubuntu starts one: what needs Docker is skipped.",
      "undefined",
    ]);
  });

  test("says where its log is when it does not start", async () => {
    const lines = await runWithoutEngine(`
      process.env.PATH = "/run/bin:" + process.env.PATH;
      spawnSync("sh", ["-c", "mkdir /run/bin && ln -s /bin/false /run/bin/dockerd"]);
      console.log(await ensureDockerEngine());`);

    expect(lines).toEqual([
      "starting a Docker Engine (dockerd)",
      expect.stringMatching(/^The Docker Engine did not start, see .*dockerd\.log: what needs/),
      "undefined",
    ]);
  });
});
