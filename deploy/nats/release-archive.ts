/**
 * nats-server from an archive (`.tar.gz`) that the operator names together with its SHA-256. Berth pins no
 * archive of its own: a checksum read from the host that serves the archive would prove nothing.
 */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runCommand } from "./command.ts";

export interface Archive {
  /** `https:`, `http:` or `file:`. */
  readonly url: string;
  /** In hex. */
  readonly sha256: string;
}

/** A host that does not answer is given up after this long: the next source may be nearer. */
const ANSWER_TIMEOUT_MS = 5_000;
const DOWNLOAD_TIMEOUT_MS = 120_000;
const UNPACK_TIMEOUT_MS = 60_000;

/** Calls `take` with the unpacked nats-server while it is there; resolves with why not when there is none. */
export async function withArchiveServer(
  archive: Archive,
  cacheDir: string,
  take: (binary: string) => Promise<void>,
): Promise<string | undefined> {
  const bytes = await download(archive.url);
  if ("reason" in bytes) return bytes.reason;
  const digest = createHash("sha256").update(bytes.data).digest("hex");
  if (digest !== archive.sha256.toLowerCase()) {
    return `the archive's SHA-256 is ${digest}, not the one that was pinned`;
  }
  await mkdir(cacheDir, { recursive: true });
  const dir = await mkdtemp(join(cacheDir, "archive-"));
  try {
    await writeFile(join(dir, "archive.tar.gz"), bytes.data);
    const result = await runCommand("tar", ["-xzf", "archive.tar.gz"], {
      timeoutMs: UNPACK_TIMEOUT_MS,
      cwd: dir,
    });
    if (result.code !== 0) return `tar failed: ${result.stderr.trim()}`;
    const names = await readdir(dir, { recursive: true });
    const binary = names.find((name) => name.split("/").at(-1) === "nats-server");
    if (binary === undefined) return "the archive holds no nats-server";
    await take(join(dir, binary));
    return undefined;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function download(url: string): Promise<{ data: Buffer } | { reason: string }> {
  try {
    if (url.startsWith("file:")) return { data: await readFile(fileURLToPath(url)) };
    const first = await fetch(url, {
      method: "HEAD",
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    if (!first.ok) return { reason: `the archive's host answered ${first.status}` };
    const response = await fetch(url, { signal: AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS) });
    if (!response.ok) return { reason: `the archive's host answered ${response.status}` };
    return { data: Buffer.from(await response.arrayBuffer()) };
  } catch (thrown) {
    const cause = thrown instanceof Error ? (thrown.cause ?? thrown) : thrown;
    const text = cause instanceof Error ? cause.message : String(cause);
    return { reason: `the archive's host does not answer (${text})` };
  }
}
