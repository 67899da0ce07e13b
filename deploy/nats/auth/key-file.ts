/** One key's file. It is looked at at each use, and read and parsed again only when it is another one. */
import { readFileSync, statSync } from "node:fs";
import { Nkey } from "../../../runtime/nats-auth/nkey.ts";

export class KeyFile {
  readonly #path: string;
  #known: { readonly key: Nkey; readonly stamp: string } | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Undefined when there is none that can be read. Throws `config.invalid` when it holds no key. */
  read(): Nkey | undefined {
    const stamp = stampOf(this.#path);
    if (stamp === undefined || this.#known?.stamp !== stamp) this.#known = undefined;
    if (stamp === undefined || this.#known) return this.#known?.key;
    const text = tryRead(this.#path);
    if (text === undefined) return undefined;
    const key = Nkey.parse(text);
    // What was put there between the look and the reading has another stamp, and is read at the next use.
    this.#known = { key, stamp };
    return key;
  }
}

/** Keys are replaced by renaming: another file has another number, or at least other times. */
function stampOf(path: string): string | undefined {
  try {
    const { ctimeNs, dev, ino, mtimeNs, size } = statSync(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(":");
  } catch {
    return undefined;
  }
}

export function tryRead(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
