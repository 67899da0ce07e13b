/** What ended workers wrote last, kept on disk for whoever asks why; the oldest go. */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseId } from "../../protocols/ids.ts";

/** Of each worker. Errors stand at the end. */
export const MAX_LOG_TAIL_BYTES = 64 * 1024;
const MAX_LOGS = 200;
const ENDING = ".log";

export class KeptLogs {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  save(worker: string, text: string): void {
    const tail = Buffer.from(text).subarray(-MAX_LOG_TAIL_BYTES);
    writeFileSync(this.#path(worker), tail, { mode: 0o600 });
    this.#prune();
  }

  read(worker: string): string | undefined {
    try {
      return readFileSync(this.#path(worker), "utf8");
    } catch {
      return undefined;
    }
  }

  #path(worker: string): string {
    return join(this.#folder, `${parseId(worker, "worker")}${ENDING}`);
  }

  #prune(): void {
    const names = readdirSync(this.#folder).filter((name) => name.endsWith(ENDING));
    if (names.length <= MAX_LOGS) return;
    const byAge = names
      .map((name) => ({ name, at: statSync(join(this.#folder, name)).mtimeMs }))
      .toSorted((a, b) => a.at - b.at);
    for (const { name } of byAge.slice(0, names.length - MAX_LOGS))
      rmSync(join(this.#folder, name), { force: true });
  }
}
