/** Images of this checkout, and containers of them, driven by the docker command. */
import { randomUUID } from "node:crypto";
import { runCommand } from "../../deploy/nats/command.ts";
import { devFileSchema } from "../../protocols/api.ts";
import { eventually } from "./eventually.ts";

const MINUTE = 60_000;
const ROOT = new URL("../..", import.meta.url).pathname;
/** Where BERTH_TEST_DOCKER is `registry` images are built as people do, else without one. */
const FROM = process.env["BERTH_TEST_DOCKER"] === "registry" ? [] : ["--offline"];
/** What every container of ours is held to. */
const HARDENED = [
  ...["--init", "--read-only", "--tmpfs", "/tmp:exec,mode=1777"],
  ...["--cap-drop", "ALL", "--security-opt", "no-new-privileges"],
];

/** Standard output. Throws what the command said when it failed. */
async function mustRun(
  command: string,
  args: readonly string[],
  timeoutMs = MINUTE,
): Promise<string> {
  const { code, stderr, stdout } = await runCommand(command, args, { timeoutMs, cwd: ROOT });
  if (code === 0) return stdout.trim();
  throw new Error(`${command} ${args.join(" ")} ended with ${code}: ${stderr}${stdout}`);
}

const docker = (...args: readonly string[]) => mustRun("docker", args);

/** Called by their usual names with `-test` behind. Minutes the first time, for the base image; then about half of one. */
export async function buildImages(...names: readonly string[]): Promise<void> {
  const script = ["deploy/images/build.mjs", ...names, "--suffix=-test", ...FROM];
  await mustRun(process.execPath, script, 20 * MINUTE);
}

/** The image of workers under another tag. */
export async function buildExecutorImage(tag: string, agents: string): Promise<void> {
  const script = ["deploy/images/build.mjs", "executor", `--tag=${tag}`, `--agents=${agents}`];
  await mustRun(process.execPath, [...script, ...FROM], 20 * MINUTE);
}

export interface RoleContainer extends AsyncDisposable {
  /** Standard output of a command run in it. */
  exec(...command: readonly string[]): Promise<string>;
}

/** On this machine's own network. Resolves once Docker calls it healthy. */
export async function startRole(
  role: "node" | "gateway",
  env: Readonly<Record<string, string>>,
): Promise<RoleContainer> {
  const name = newName();
  const settings = Object.entries(env).flatMap(([key, value]) => ["--env", `${key}=${value}`]);
  await docker(
    ...["run", "--detach", "--name", name, "--network", "host", "--health-interval", "1s"],
    ...[...HARDENED, ...settings, `berth-${role}-test`],
  );
  const container = {
    exec: (...command: readonly string[]) => docker("exec", name, ...command),
    async [Symbol.asyncDispose]() {
      await docker("rm", "--force", "--volumes", name);
    },
  };
  try {
    await eventually(() => becameHealthy(name), { within: 60_000, name: `the ${role} is healthy` });
    return container;
  } catch (thrown) {
    await container[Symbol.asyncDispose]();
    throw thrown;
  }
}

const newName = () => `berth-test-${randomUUID().slice(0, 8)}`;

export interface BerthContainer {
  readonly url: string;
  readonly key: string;
  /** Standard output of a command run in it. */
  exec(...command: readonly string[]): Promise<string>;
  /** Resolves with the exit code, 137 when Docker had to kill it. */
  stop(): Promise<number>;
}

export interface ContainerHost extends AsyncDisposable {
  /** Resolves once Docker calls it healthy. One at a time: they share a volume. */
  start(): Promise<BerthContainer>;
}

/** A volume for containers that come one after another; both are gone at the end. */
export async function openContainerHost(): Promise<ContainerHost> {
  const name = newName();
  await docker("volume", "create", name);
  const remove = () => runCommand("docker", ["rm", "--force", name], { timeoutMs: MINUTE });
  return {
    async start() {
      await docker(
        ...["run", "--detach", "--name", name, "--volume", `${name}:/data`],
        ...["--publish", "127.0.0.1::8000", "--health-interval", "1s", ...HARDENED, "berth-test"],
      );
      await eventually(() => becameHealthy(name), { within: 90_000, name: "it is healthy" });
      const exec = (...command: readonly string[]) => docker("exec", name, ...command);
      const { keys } = devFileSchema.parse(JSON.parse(await exec("cat", "/data/dev.json")));
      return {
        url: `http://${await docker("port", name, "8000/tcp")}`,
        key: keys.pro,
        exec,
        async stop() {
          await docker("stop", name);
          const code = await docker("inspect", "--format", "{{.State.ExitCode}}", name);
          await remove();
          return Number(code);
        },
      };
    },
    async [Symbol.asyncDispose]() {
      await remove();
      await docker("volume", "rm", name);
    },
  };
}

async function becameHealthy(name: string): Promise<void> {
  const state = await docker("inspect", "--format", "{{.State.Health.Status}}", name);
  if (state === "healthy") return;
  const logs = await runCommand("docker", ["logs", name], { timeoutMs: MINUTE });
  throw new Error(`it is ${state}: ${logs.stdout}${logs.stderr}`);
}
