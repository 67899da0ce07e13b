/** Files of secrets: readable by their owner alone, and there whole or not at all, whenever their writer dies. */
import { randomUUID } from "node:crypto";
import { link, rename, rm, writeFile } from "node:fs/promises";

const OPTIONS = { mode: 0o600, flush: true } as const;

/** Replaces the file in one step. */
export async function writePrivate(path: string, text: string): Promise<void> {
  await writeFile(`${path}.draft`, text, OPTIONS);
  await rename(`${path}.draft`, path);
}

/** Makes the file in one step, if there is none: of several that try at once, the first. */
export async function makePrivate(path: string, text: string): Promise<void> {
  const draft = `${path}.draft-${randomUUID()}`;
  try {
    await writeFile(draft, text, OPTIONS);
    await link(draft, path);
  } catch (thrown) {
    if (!isTaken(thrown)) throw thrown;
  } finally {
    await rm(draft, { force: true });
  }
}

function isTaken(thrown: unknown): boolean {
  return thrown instanceof Error && "code" in thrown && thrown.code === "EEXIST";
}
