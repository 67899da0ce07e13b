/** Reads every byte of a backup: digests, compression, messages. Needs no broker. */
import { BerthError } from "../../protocols/errors.ts";
import { readArchive } from "./archive.ts";
import { readChecked, readManifest } from "./backup-folder.ts";
import type { Manifest, SavedStream } from "./manifest.ts";

/** Throws `backup.invalid`, naming the first file that is not as it was written. */
export async function verifyBackup(
  folder: string,
  { say, signal }: { readonly say: (line: string) => void; readonly signal: AbortSignal },
): Promise<Manifest> {
  const manifest = await readManifest(folder);
  for (const stream of manifest.streams) {
    signal.throwIfAborted();
    await verifyStream(folder, stream);
    say(`${stream.name}: ${stream.state.messages} messages: whole`);
  }
  if (manifest.keys) {
    for await (const _ of readChecked(folder, manifest.keys)) signal.throwIfAborted();
    say("keys: as they were sealed");
  }
  return manifest;
}

/** What the bytes are comes before what is in them: of a file that was changed nothing else is worth saying. */
async function verifyStream(folder: string, stream: SavedStream): Promise<void> {
  for await (const _ of readChecked(folder, stream));
  try {
    const { messages } = await readArchive(readChecked(folder, stream));
    // Values with a TTL may have gone between the count and the copy.
    if (messages !== undefined && messages > stream.state.messages)
      throw new BerthError(
        "backup.invalid",
        `it holds ${messages} messages, not as many as it says`,
      );
  } catch (thrown) {
    if (!(thrown instanceof BerthError)) throw thrown;
    throw new BerthError("backup.invalid", `${stream.file}: ${thrown.message}`, { cause: thrown });
  }
}
