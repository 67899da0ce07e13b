/** What `berth backup` does, on the broker and the keys that the configuration names. */
import { randomInt } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { type Act, systemActor } from "../../protocols/audit.ts";
import { asBerthError, BerthError } from "../../protocols/errors.ts";
import { PLATFORM_TENANT } from "../../protocols/ids.ts";
import { type Audit, auditOf } from "../../runtime/audit.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { natsSnapshots } from "../../runtime/nats/snapshots.ts";
import { connectNats } from "../../runtime/nats/transport.ts";
import { authFolder, type Broker, brokerTls, externalBroker } from "../broker.ts";
import type { Config } from "../config.ts";
import { urlOf } from "../nats/auth/keyholder.ts";
import { OperatorKeys } from "../nats/auth/operator-keys.ts";
import { startBroker } from "../own-broker.ts";
import { version } from "../version.ts";
import { readChecked, readManifest } from "./backup-folder.ts";
import { createBackup } from "./creation.ts";
import { readKeyFiles, writeKeyFiles } from "./key-files.ts";
import type { Manifest } from "./manifest.ts";
import { restoreBackup } from "./restoration.ts";
import { openKeys, sealKeys } from "./sealed-keys.ts";
import { verifyBackup } from "./verification.ts";

interface Common {
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

export interface CreateOptions extends Common {
  readonly maxHoldMs: number;
  /** A file with the passphrase that keys are sealed by; absent: keys are not saved. */
  readonly passphraseFile?: string | undefined;
}

export interface RestoreOptions extends Common {
  readonly stream?: string | undefined;
  readonly passphraseFile?: string | undefined;
  /** Keys alone: a broker in operator mode cannot start without them. */
  readonly keysOnly: boolean;
}

export interface Commands {
  create(options: CreateOptions): Promise<{ readonly folder: string; readonly manifest: Manifest }>;
  verify(options: Common): Promise<Manifest>;
  restore(options: RestoreOptions): Promise<Manifest>;
}

export function backupCommands(config: Config): Commands {
  return {
    create: (options) => create(config, options),
    verify: ({ folder, ...parts }) => verifyBackup(folder, parts),
    restore: (options) => restore(config, options),
  };
}

async function create(
  config: Config,
  { folder, maxHoldMs, passphraseFile, say, signal }: CreateOptions,
): ReturnType<Commands["create"]> {
  // A passphrase that cannot be read is told of before anything stands still.
  const keys =
    passphraseFile === undefined
      ? undefined
      : sealKeys(await readKeyFiles(config), await readPassphrase(passphraseFile));
  const broker = await runningBroker(config);
  return await connected(broker, async ({ audit, serverVersion, ...parts }) => {
    const versions = { berth_version: version, server_version: serverVersion };
    // Before it is done, as every act (ADR 18): so the trail that is saved tells of it.
    await audit.record(actOf("backup.create", { keys: keys === undefined ? "no" : "sealed" }));
    return await createBackup({ ...parts, versions, signal, say }, { folder, maxHoldMs, keys });
  });
}

async function restore(
  config: Config,
  { folder, keysOnly, passphraseFile, say, signal, stream }: RestoreOptions,
): Promise<Manifest> {
  const manifest = await readManifest(folder);
  const undo: (() => Promise<void>)[] = [];
  let takeBack = async () => {};
  try {
    if (passphraseFile !== undefined) {
      takeBack = await restoreKeys(config, { folder, manifest, passphraseFile });
      say("keys are in their places");
    }
    if (keysOnly) return manifest;
    const broker = await startBroker(config, { logger: silentLogger, print: say, undo });
    return await connected(broker, async ({ audit, ...parts }) => {
      const { BERTH_REPLICAS: replicas, BERTH_STREAM_TAGS: serverTags } = config;
      const issuers = broker.keys?.all("issuer").map(({ publicKey }) => publicKey);
      const restored = await restoreBackup(
        { ...parts, signal, say },
        { folder, replicas, serverTags, issuers, stream },
      );
      // Before there was no trail. What is restored stays, whoever can or cannot be told.
      await audit
        .record(actOf("backup.restore", { of: restored.quiet_from, stream: stream ?? "all" }))
        .catch((thrown: unknown) =>
          say(`the audit trail does not tell of it: ${asBerthError(thrown).message}`),
        );
      return restored;
    });
  } catch (thrown) {
    await takeBack();
    throw thrown;
  } finally {
    for (const step of undo.toReversed()) await step();
  }
}

async function restoreKeys(
  config: Config,
  {
    folder,
    manifest,
    passphraseFile,
  }: { readonly folder: string; readonly manifest: Manifest; readonly passphraseFile: string },
): Promise<() => Promise<void>> {
  if (!manifest.keys) throw new BerthError("backup.invalid", "the backup holds no keys");
  const sealed: Uint8Array[] = [];
  for await (const piece of readChecked(folder, manifest.keys)) sealed.push(piece);
  const files = openKeys(Buffer.concat(sealed), await readPassphrase(passphraseFile));
  return await writeKeyFiles(config, files);
}

/** Whoever may read the broker's keys runs this: that it is a person is known, who it is, is not. */
function actOf(act: "backup.create" | "backup.restore", detail: Act["detail"]): Act {
  const actor = systemActor("berth-backup");
  return {
    tenant: PLATFORM_TENANT,
    actor,
    act,
    target: "broker",
    outcome: "allowed",
    ...(detail ? { detail } : {}),
  };
}

async function readPassphrase(path: string): Promise<string> {
  const refuse = (reason: string, cause?: unknown) =>
    new BerthError("config.invalid", `the passphrase file ${path} ${reason}`, { cause });
  const facts = await stat(path).catch((cause: unknown) => {
    throw refuse(`cannot be read: ${asBerthError(cause).message}`, cause);
  });
  if ((facts.mode & 0o077) !== 0) throw refuse("is open to others: its mode must be 0600");
  return (await readFile(path, "utf8")).replace(/\r?\n$/, "");
}

/** The configured one, or that of the Berth that runs on the data folder. */
async function runningBroker(config: Config): Promise<Pick<Broker, "url" | "tls" | "credential">> {
  if (config.BERTH_NATS_URL !== undefined) {
    const broker = externalBroker(config);
    const credential = broker.credential ?? (broker.keys && (() => platform(broker.keys)));
    return credential ? { ...broker, credential } : broker;
  }
  const url = await urlOf(config.BERTH_DATA);
  const keys = new OperatorKeys(config.BERTH_NATS_AUTH ?? authFolder(config.BERTH_DATA));
  return { url, tls: brokerTls(config, url), credential: () => platform(keys) };
}

function platform(keys: OperatorKeys | undefined) {
  if (keys) return keys.credential("platform");
  throw new BerthError("config.invalid", "which credential? Set BERTH_NATS_CREDS");
}

interface Connected {
  readonly buckets: Awaited<ReturnType<typeof connectNats>>["buckets"];
  readonly snapshots: ReturnType<typeof natsSnapshots>;
  readonly clock: typeof systemClock;
  readonly audit: Audit;
  readonly serverVersion: string;
}

async function connected<T>(
  { credential, tls, url }: Pick<Broker, "url" | "tls" | "credential">,
  work: (parts: Connected) => Promise<T>,
): Promise<T> {
  const clock = systemClock;
  const transport = await connectNats({
    ...{ url, tls, credential, clock, name: "berth-backup", topology: "none" },
    logger: silentLogger,
  });
  try {
    const { buckets, connection } = transport;
    const serverVersion = connection.info?.version ?? "0.0.0";
    return await work({
      buckets,
      clock,
      audit: auditOf({ store: transport.audit, clock, random: () => randomInt(1_000) / 1_000 }),
      serverVersion,
      snapshots: natsSnapshots(connection, clock),
    });
  } finally {
    await transport.close();
  }
}
