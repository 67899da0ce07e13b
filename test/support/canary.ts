/** A secret to plant, and a search for it that knows the forms in which it could lie somewhere. */
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** Holds characters that each encoding changes. */
export function newCanary(): string {
  return `sk-canary/${randomBytes(18).toString("base64")}+&=~!`;
}

/** Each needs to be found only if the text has it whole, wherever it begins. */
function formsOf(canary: string): readonly Buffer[] {
  const bytes = Buffer.from(canary);
  const hex = bytes.toString("hex");
  // Of each of the three places in a group of base64 where it may begin, what does not depend on what stands around.
  const inBase64 = [0, 1, 2].flatMap((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64");
    const inner = text.slice(Math.ceil((before * 4) / 3), Math.floor(text.length / 4) * 4 - 4);
    return [inner, inner.replaceAll("+", "-").replaceAll("/", "_")];
  });
  const url = encodeURIComponent(canary);
  const small = url.replaceAll(/%[0-9A-F]{2}/g, (code) => code.toLowerCase());
  const spaced = hex.replaceAll(/..(?!$)/g, "$& ");
  const json = JSON.stringify(canary).slice(1, -1).replaceAll("/", "\\/");
  return [canary, ...inBase64, hex, hex.toUpperCase(), spaced, url, small, json].map((form) =>
    Buffer.from(form),
  );
}

/** Keeps where it was found. */
export class CanarySearch {
  readonly #forms: readonly Buffer[];
  readonly found = new Set<string>();
  /** How many bytes each kind of place had, so that a search of nothing is seen. */
  readonly searched = new Map<string, number>();

  constructor(canary: string) {
    this.#forms = formsOf(canary);
  }

  /** `kind` is the sort of place, `name` which one. */
  look(kind: string, name: string, content: Uint8Array | string): void {
    const bytes = Buffer.from(content);
    this.searched.set(kind, (this.searched.get(kind) ?? 0) + bytes.length);
    if (this.#forms.some((form) => bytes.includes(form))) this.found.add(`${kind} ${name}`);
  }

  /** Every file under a folder, what processes write at the moment included. */
  lookInFolder(kind: string, folder: string): void {
    for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isFile()) this.#lookInFile(kind, path);
    }
  }

  /** Environment and command line of every process that may be read. Returns the environments of those that have it. */
  lookInProcesses(kind: string): string[] {
    return readdirSync("/proc").flatMap((pid) => {
      if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return [];
      const environment = tryRead(`/proc/${pid}/environ`);
      const all = Buffer.concat([environment, Buffer.from("\0"), tryRead(`/proc/${pid}/cmdline`)]);
      const before = this.found.size;
      this.look(kind, pid, all);
      return this.found.size > before ? [environment.toString()] : [];
    });
  }

  #lookInFile(kind: string, path: string): void {
    try {
      // A disk image is mostly holes: what is allocated is small in tests.
      if (statSync(path).size <= 512 * 1024 ** 2) this.look(kind, path, readFileSync(path));
      else throw new Error(`${path} is too large to be searched`);
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== "ENOENT") throw thrown;
    }
  }
}

function tryRead(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    return Buffer.alloc(0);
  }
}
