/**
 * A backup's folder on disk. Invariants:
 * BF1 A folder with a manifest is whole: everything is written and synced beside it, then renamed in one step.
 * BF2 What is given up leaves nothing.
 * BF3 Nobody but its owner reads it: folders have mode 0700, files 0600.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, open, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { asBerthError, BerthError } from "../../protocols/errors.ts";
import { type FileFacts, type Manifest, parseManifest } from "./manifest.ts";

const MANIFEST = "manifest.json";
/** For `sha256sum -c`, and for the manifest, which cannot name its own. */
const SUMS = "SHA256SUMS";

export interface Sink {
  take(chunk: Uint8Array): Promise<void>;
  /** Synced when it resolves. */
  end(): Promise<FileFacts>;
  /** Closes the file and nothing more. */
  giveUp(): Promise<void>;
}

export class BackupDraft {
  readonly #target: string;
  readonly #folder: string;

  private constructor(target: string, folder: string) {
    this.#target = target;
    this.#folder = folder;
  }

  /** Throws `backup.unwritable` where there is something already, or nothing can be. */
  static async open(path: string): Promise<BackupDraft> {
    const target = resolve(path);
    return await writing(target, async () => {
      if (await stat(target).catch(() => undefined))
        throw new BerthError("backup.unwritable", `${target} exists already`);
      await mkdir(dirname(target), { recursive: true, mode: 0o700 });
      const folder = await mkdtemp(join(dirname(target), `.${basename(target)}.draft-`));
      return new BackupDraft(target, folder);
    });
  }

  async file(name: string): Promise<Sink> {
    const path = join(this.#folder, name);
    const handle = await writing(path, () => open(path, "wx", 0o600));
    const hash = createHash("sha256");
    let bytes = 0;
    return {
      take: (chunk) =>
        writing(path, async () => {
          hash.update(chunk);
          bytes += chunk.length;
          for (let at = 0; at < chunk.length; )
            at += (await handle.write(chunk, at, chunk.length - at)).bytesWritten;
        }),
      end: () =>
        writing(path, async () => {
          await handle.sync();
          await handle.close();
          return { file: name, bytes, sha256: hash.digest("hex") };
        }),
      giveUp: () => handle.close().catch(() => undefined),
    };
  }

  /** BF1. Resolves with the folder's path. */
  async finish(manifest: Manifest): Promise<string> {
    const sink = await this.file(MANIFEST);
    await sink.take(Buffer.from(`${JSON.stringify(manifest, undefined, 2)}\n`));
    const { sha256 } = await sink.end();
    const sums = await this.file(SUMS);
    await sums.take(Buffer.from(sumsOf(manifest, sha256)));
    await sums.end();
    return await writing(this.#target, async () => {
      await rename(this.#folder, this.#target);
      await sync(dirname(this.#target));
      return this.#target;
    });
  }

  /** BF2. */
  async discard(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function sync(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Throws `backup.invalid` where there is no manifest, or one that was changed. */
export async function readManifest(folder: string): Promise<Manifest> {
  const [text, sums] = await Promise.all([readText(folder, MANIFEST), readText(folder, SUMS)]);
  const manifest = parseManifest(text);
  const sha256 = createHash("sha256").update(text).digest("hex");
  if (sums === sumsOf(manifest, sha256)) return manifest;
  throw new BerthError("backup.invalid", `${MANIFEST} or ${SUMS} was changed: they do not agree`);
}

function sumsOf(manifest: Manifest, sha256: string): string {
  const files = [...manifest.streams, ...(manifest.keys ? [manifest.keys] : [])];
  const all = [...files, { file: MANIFEST, sha256 }];
  return all.map((facts) => `${facts.sha256}  ${facts.file}\n`).join("");
}

async function readText(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  return await readFile(path, "utf8").catch((cause: unknown) => {
    throw new BerthError("backup.invalid", `${path} cannot be read: is this a backup?`, { cause });
  });
}

/** The bytes of a file; at their end it throws `backup.invalid` if they are not what the manifest says. */
export async function* readChecked(folder: string, facts: FileFacts): AsyncIterable<Uint8Array> {
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    for await (const chunk of createReadStream(join(folder, facts.file), {
      highWaterMark: CHUNK,
    })) {
      const piece = chunk as Buffer;
      hash.update(piece);
      bytes += piece.length;
      yield piece;
    }
  } catch (thrown) {
    if (thrown instanceof BerthError) throw thrown;
    throw new BerthError("backup.invalid", `${facts.file}: ${asBerthError(thrown).message}`);
  }
  if (bytes !== facts.bytes)
    throw new BerthError("backup.invalid", `${facts.file} has ${bytes} bytes, not ${facts.bytes}`);
  if (hash.digest("hex") !== facts.sha256)
    throw new BerthError("backup.invalid", `${facts.file} was changed: its SHA-256 is another`);
}

/** As large as the broker's own; below the largest message that it takes. */
const CHUNK = 512 * 1024;

async function writing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof BerthError) throw cause;
    const reason = (cause as NodeJS.ErrnoException).code;
    if (reason === undefined) throw cause;
    const words = reason === "ENOSPC" ? "no space is left there" : asBerthError(cause).message;
    throw new BerthError("backup.unwritable", `${path}: ${words}`, { cause });
  }
}
