/** Backups of a test's broker into a temporary folder, and restores into others. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBackup } from "../../deploy/backup/creation.ts";
import type { Manifest } from "../../deploy/backup/manifest.ts";
import { restoreBackup } from "../../deploy/backup/restoration.ts";
import type { OperatorKeys } from "../../deploy/nats/auth/operator-keys.ts";
import type { BrokerCredential } from "../../protocols/executor.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { natsSnapshots, type Snapshots } from "../../runtime/nats/snapshots.ts";
import { connectNats } from "../../runtime/nats/transport.ts";

export interface RigBroker {
  readonly url: string;
  readonly credential?: (() => BrokerCredential) | undefined;
  /** Of the deployment that goes on there. */
  readonly keys?: OperatorKeys;
}

export interface RigOptions {
  readonly signal?: AbortSignal;
  readonly say?: (line: string) => void;
  readonly maxHoldMs?: number;
  readonly replicas?: number;
  readonly stream?: string;
  readonly serverVersion?: string;
  /** Stands between the backup and the broker. */
  readonly wrap?: (inner: Snapshots) => Snapshots;
}

export interface BackupRig extends AsyncDisposable {
  readonly root: string;
  create(from: RigBroker, name: string, options?: RigOptions): Promise<Manifest>;
  restore(name: string, to: RigBroker, options?: RigOptions): Promise<Manifest>;
  folder(name: string): string;
}

const never = new AbortController().signal;

export async function backupRig(): Promise<BackupRig> {
  const root = await mkdtemp(join(tmpdir(), "berth-backup-"));
  const on = async <T>(
    broker: RigBroker,
    { wrap = (inner) => inner }: RigOptions,
    work: (parts: {
      readonly buckets: Awaited<ReturnType<typeof connectNats>>["buckets"];
      readonly snapshots: Snapshots;
      readonly clock: typeof systemClock;
      readonly version: string;
    }) => Promise<T>,
  ) => {
    const transport = await connectNats({
      ...{
        url: broker.url,
        credential: broker.credential,
        name: "backup",
        topology: "none",
        clock: systemClock,
        logger: silentLogger,
      },
    });
    try {
      const { buckets, connection } = transport;
      const snapshots = wrap(natsSnapshots(connection, systemClock));
      const version = connection.info?.version ?? "";
      return await work({ buckets, snapshots, clock: systemClock, version });
    } finally {
      await transport.close();
    }
  };
  const folder = (name: string) => join(root, name);
  return {
    root,
    folder,
    async create(from, name, options = {}) {
      const { maxHoldMs = 30_000, say = () => {}, signal = never } = options;
      return await on(from, options, async ({ version, ...parts }) => {
        const versions = { berth_version: "0.0.0", server_version: version };
        const made = await createBackup(
          { ...parts, versions, signal, say },
          { folder: folder(name), maxHoldMs },
        );
        return made.manifest;
      });
    },
    async restore(name, to, options = {}) {
      const issuers = to.keys?.all("issuer").map(({ publicKey }) => publicKey);
      const { replicas = 1, say = () => {}, signal = never, stream } = options;
      return await on(to, options, async ({ version, ...parts }) => {
        const { serverVersion = version } = options;
        return await restoreBackup(
          { ...parts, serverVersion, signal, say },
          { folder: folder(name), replicas, serverTags: [], stream, issuers },
        );
      });
    },
    async [Symbol.asyncDispose]() {
      await rm(root, { recursive: true, force: true });
    },
  };
}
