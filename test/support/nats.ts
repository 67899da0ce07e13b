/** A real nats-server of its own for a test file: a free port, a temporary store, gone at the end. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { authFolder, type Broker } from "../../deploy/broker.ts";
import { gatewayCredential } from "../../deploy/nats/auth/gateway-credential.ts";
import { ensureOperatorKeys, type OperatorKeys } from "../../deploy/nats/auth/operator-keys.ts";
import { operatorModeLines } from "../../deploy/nats/auth/operator-mode.ts";
import { findNatsServer } from "../../deploy/nats/find-server.ts";
import { accountsFolder, NatsServer } from "../../deploy/nats/server.ts";
import { ANY_ONE } from "../../protocols/isolation.ts";
import { ISOLATION_POLICY } from "../../protocols/isolation-policy.ts";
import { systemClock } from "../../runtime/clock.ts";
import { natsPermissions } from "../../runtime/isolation/nats-permissions.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { freePort } from "./free-port.ts";

export interface TestNats extends AsyncDisposable {
  readonly port: number;
  /** With the platform's password in it when the server has users. */
  readonly url: string;
  /** With the workers' password in it when the server has users. */
  readonly workerUrl: string;
  readonly dataDir: string;
  readonly pid: number | undefined;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** Starts it again on the same port and store, after a `kill` or instead of it. */
  restart(): Promise<void>;
}

/** In operator mode, as `berth up` starts it. */
export interface OperatorNats extends TestNats {
  readonly keys: OperatorKeys;
  readonly broker: Broker;
}

/** Of a server with users. */
export interface TwoUsers {
  /** Subjects that the platform may not publish to, asked at each start of the server. */
  readonly denied?: readonly string[];
  /** How much the account may have on disk (default: no limit). */
  readonly storageBytes?: number;
}

const MIB = 1024 ** 2;
const CACHE_DIR = new URL("../../.berth/cache", import.meta.url).pathname;
const PASSWORDS = { platform: "a-password-of-the-platform", worker: "a-password-of-all-workers" };

/**
 * By default anybody may do everything on it; `authorize` makes two users, as somebody who runs a server of their own may:
 * the platform's and one that all workers share.
 */
export async function startNats(
  options: TwoUsers & { readonly authorize?: boolean; readonly monitorPort?: number } = {},
): Promise<TestNats> {
  const dataDir = await mkdtemp(join(tmpdir(), "berth-nats-"));
  const { monitorPort } = options;
  const isOpen = options.authorize !== true;
  const access = () => (isOpen ? [] : twoUsers(options));
  return await startServer(dataDir, access, isOpen ? {} : PASSWORDS, monitorPort);
}

export async function startOperatorNats(): Promise<OperatorNats> {
  const dataDir = await mkdtemp(join(tmpdir(), "berth-nats-"));
  const keys = await ensureOperatorKeys(authFolder(dataDir), second());
  const nats = await startServer(
    dataDir,
    () => operatorModeLines(keys, accountsFolder(dataDir), second()),
    {},
  );
  const { url } = nats;
  const broker: Broker = {
    ...{ url, workerUrl: url, keys, credential: () => keys.credential("platform") },
    gateway: () => gatewayCredential(keys, "test", second()),
  };
  return Object.defineProperties({ keys, broker } as OperatorNats, descriptorsOf(nats));
}

/** All of it, the value that changes and the disposal included. */
function descriptorsOf(nats: TestNats): PropertyDescriptorMap {
  return Object.getOwnPropertyDescriptors(nats);
}

const second = () => Math.floor(systemClock.now() / 1_000);

async function startServer(
  dataDir: string,
  access: () => readonly string[],
  passwords: Partial<typeof PASSWORDS>,
  monitorPort?: number,
): Promise<TestNats> {
  const { binary } = await findNatsServer({ cacheDir: CACHE_DIR });
  const port = await freePort("nats");
  const start = () =>
    NatsServer.start(
      { clock: systemClock, logger: silentLogger },
      { binary, dataDir, port, monitorPort, access, restart: false },
    );
  let server = await start();
  const kill = async () => {
    if (server.pid !== undefined) process.kill(server.pid, "SIGKILL");
    await server.stop();
  };
  return {
    port,
    url: urlWith(server.url, "platform", passwords.platform),
    workerUrl: urlWith(server.url, "worker", passwords.worker),
    dataDir,
    get pid() {
      return server.pid;
    },
    kill,
    async restart() {
      await kill();
      server = await start();
    },
    async [Symbol.asyncDispose]() {
      await server.stop();
      await rm(dataDir, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

function urlWith(url: string, user: string, password: string | undefined): string {
  return password === undefined ? url : url.replace("://", `://${user}:${password}@`);
}

function twoUsers({ denied = [], storageBytes }: TwoUsers): string[] {
  const permissions = natsPermissions(ISOLATION_POLICY, { kind: "container", id: ANY_ONE });
  const limits =
    storageBytes === undefined ? "enabled" : `{ max_mem: ${MIB}, max_file: ${storageBytes} }`;
  const narrow =
    denied.length === 0
      ? ""
      : `, permissions: { publish: { allow: [">"], deny: ${JSON.stringify(denied)} } }`;
  return [
    "accounts { BERTH {",
    `  jetstream: ${limits}`,
    "  users: [",
    `    { user: platform, password: "${PASSWORDS.platform}"${narrow} }`,
    `    { user: worker, password: "${PASSWORDS.worker}", permissions: {`,
    `      publish: { allow: ${JSON.stringify(permissions.publish)} }`,
    `      subscribe: { allow: ${JSON.stringify(permissions.subscribe)} }`,
    '      allow_responses: { max: 1, expires: "1m" }',
    "    } }",
    "  ]",
    "} }",
  ];
}
