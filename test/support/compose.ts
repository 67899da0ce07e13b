/** A stack of deploy/compose, of images of this checkout, under a project of its own; disposal leaves nothing of it. */
import { spawnSync } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe } from "vitest";
import { runCommand } from "../../deploy/nats/command.ts";
import { certificateFor } from "./certificate.ts";
import { docker, EXECUTOR_IMAGE } from "./docker.ts";
import { removeAll } from "./docker-berth.ts";
import { ROOT } from "./source.ts";

const MINUTE = 60_000;
const UP_MS = 5 * MINUTE;
/** Where `npm test` puts it when the engine has no such plugin. */
const FETCHED = join(ROOT, ".berth", "cache", "compose", "docker-compose");
export const COMPOSE = existsSync(FETCHED) ? [FETCHED] : ["docker", "compose"];
/** Of each role, as `buildImages` calls it. */
const IMAGES = {
  "berth-node": "berth-node-test",
  "berth-gateway": "berth-gateway-test",
  berth: "berth-test",
  "berth-executor": EXECUTOR_IMAGE,
};

export interface ComposeStack extends AsyncDisposable {
  readonly project: string;
  /** What the files take from their environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Arguments of Compose that name its files and that environment. */
  readonly given: readonly string[];
  /** Standard output of a Compose command on the stack. Rejects with what it said when it fails. */
  compose(...args: readonly string[]): Promise<string>;
  /** An operator's key. */
  operatorKey(node: string): Promise<string>;
  /** Replaces a key of the broker, as the README has it. Resolves when the old one counts no more. */
  rotate(key: string, wait: string): Promise<void>;
  /** Addresses of a service's running containers in a network of the stack, such as `frontend`. */
  addresses(service: string, network: string): Promise<string[]>;
}

export interface StackOptions {
  /** In deploy/compose. */
  readonly files: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Certificates as broker-tls.yaml and gateway-tls.yaml want them, each its own authority. */
async function writeCertificates(folder: string, nets: readonly string[]): Promise<void> {
  const servers = [0, 1, 2];
  const addresses = nets.flatMap((net) => servers.map((n) => `${net}.${10 + n}`));
  const broker = await certificateFor("nats", ...servers.map((n) => `nats-${n}`), ...addresses);
  const gateway = await certificateFor("127.0.0.1");
  const files = {
    "nats.crt": broker.cert,
    "nats.key": broker.key,
    "ca.crt": broker.cert,
    "gateway.crt": gateway.cert,
    "gateway.key": gateway.key,
  };
  // Keys of a test: readable by whoever the containers run as.
  await mkdir(folder, { mode: 0o755 });
  for (const [name, text] of Object.entries(files))
    await writeFile(join(folder, name), text, { mode: 0o644 });
}

const LOOK_MS = 10_000;

/** As `describe`, for tests that need an engine and Docker Compose. In CI both must be there: nothing is skipped. */
export function describeCompose(name: string, body: () => void): void {
  const why = whyNot();
  const isSkipped = why !== undefined && !process.env["CI"];
  describe.skipIf(isSkipped)(isSkipped ? `${name} (SKIPPED: ${why})` : name, body);
}

function whyNot(): string | undefined {
  if ((process.env["BERTH_TEST_DOCKER"] ?? "") === "") return "set BERTH_TEST_DOCKER=1";
  if (existsSync(FETCHED)) return undefined;
  const look = spawnSync("docker", ["compose", "version"], { stdio: "ignore", timeout: LOOK_MS });
  return look.status === 0 ? undefined : "there is no Docker Compose";
}

/** Resolves once every service is healthy, or has done what it is for. */
export async function composeUp({ files, env: own = {} }: StackOptions): Promise<ComposeStack> {
  const id = randomBytes(4).toString("hex");
  const project = `berth-test-${id}`;
  const folder = await mkdtemp(join(tmpdir(), "berth-compose-"));
  await chmod(folder, 0o755);
  const net = randomInt(127) * 2;
  const env = {
    COMPOSE_PROJECT_NAME: project,
    BERTH_VERSION: `test-${id}`,
    BERTH_BACKEND_NET: `10.208.${net}`,
    BERTH_EXECUTION_NET: `10.208.${net + 1}`,
    BERTH_TLS_DIR: join(folder, "tls"),
    ...own,
  };
  const envFile = join(folder, "stack.env");
  const lines = Object.entries(env).map(([name, value]) => `${name}='${value}'`);
  await writeFile(envFile, `${lines.join("\n")}\n`);
  await writeCertificates(env.BERTH_TLS_DIR, [env.BERTH_BACKEND_NET, env.BERTH_EXECUTION_NET]);
  for (const [name, image] of Object.entries(IMAGES))
    await docker.getImage(image).tag({ repo: name, tag: env.BERTH_VERSION });

  const paths = files.flatMap((file) => ["-f", join(ROOT, "deploy", "compose", file)]);
  const given = [...paths, "--env-file", envFile];
  const [program = "docker", ...before] = COMPOSE;
  const compose = async (...args: readonly string[]) => {
    const all = [...before, ...given, ...args];
    const { code, stderr, stdout } = await runCommand(program, all, { timeoutMs: UP_MS });
    if (code === 0) return stdout;
    throw new Error(`docker compose ${args.join(" ")} ended with ${code}: ${stderr}${stdout}`);
  };
  const stack: ComposeStack = {
    ...{ project, env, given, compose },
    async operatorKey(node) {
      return (await compose("exec", "-T", node, "berth", "operator-key")).trim();
    },
    async rotate(key, wait) {
      const { code, stderr, stdout } = await runCommand(
        "docker",
        [
          ...["run", "--rm", "--user", "0:0", "--network", `${project}_backend`],
          ...["--volume", `${project}_keys:/keys`, "-e", "BERTH_NATS_AUTH=/keys/nats-auth"],
          ...["-e", `BERTH_NATS_URL=nats://${env.BERTH_BACKEND_NET}.10:4222`, IMAGES["berth-node"]],
          ...["berth", "nats", "rotate", key, "--wait", wait],
        ],
        { timeoutMs: UP_MS },
      );
      if (code !== 0) throw new Error(`the rotation ended with ${code}: ${stderr}${stdout}`);
    },
    async addresses(service, network) {
      const label = [
        `com.docker.compose.project=${project}`,
        `com.docker.compose.service=${service}`,
      ];
      const found = await docker.listContainers({ filters: { label } });
      return found.map(
        ({ NetworkSettings }) =>
          NetworkSettings.Networks[`${project}_${network}`]?.IPAddress ?? "none",
      );
    },
    async [Symbol.asyncDispose]() {
      try {
        await compose("down", "--volumes", "--remove-orphans", "--timeout", "20");
      } finally {
        await removeAll(project);
        for (const name of Object.keys(IMAGES))
          await docker
            .getImage(`${name}:${env.BERTH_VERSION}`)
            .remove()
            .catch(() => {});
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
  try {
    await compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "240");
    return stack;
  } catch (thrown) {
    const logs = await compose("logs", "--tail", "40").catch(() => "");
    await stack[Symbol.asyncDispose]();
    throw new Error(`${String(thrown)}\n${logs}`, { cause: thrown });
  }
}

/** Containers, networks and volumes that are the stack's or its workers'. */
export async function leftOf(project: string): Promise<string[]> {
  const of = ["com.docker.compose.project", "berth.deployment"].map((label) => ({
    label: [`${label}=${project}`],
  }));
  const left: string[] = [];
  for (const filters of of) {
    const containers = await docker.listContainers({ all: true, filters });
    const networks = await docker.listNetworks({ filters });
    const { Volumes } = await docker.listVolumes({ filters: JSON.stringify(filters) as never });
    left.push(
      ...containers.map(({ Names }) => `container ${Names.join()}`),
      ...networks.map(({ Name }) => `network ${Name}`),
      ...(Volumes ?? []).map(({ Name }) => `volume ${Name}`),
    );
  }
  return left;
}
