import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type DevFile, devFileSchema } from "../../protocols/api.ts";
import { BerthError } from "../../protocols/errors.ts";

export interface FoundDevFile {
  readonly path: string;
  readonly content: DevFile;
}

/** The nearest `.berth/dev.json` at or above `from`; undefined when there is none. Throws `config.invalid` on a broken one. */
export async function findDevFile(from: string): Promise<FoundDevFile | undefined> {
  for (let folder = from; ; folder = dirname(folder)) {
    const path = join(folder, ".berth", "dev.json");
    const text = await readFile(path, "utf8").catch(() => undefined);
    if (text !== undefined) return { path, content: parseDevFile(text, path) };
    if (dirname(folder) === folder) return undefined;
  }
}

function parseDevFile(text: string, path: string): DevFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new BerthError("config.invalid", `${path} is not JSON: run "npm start" again`, { cause });
  }
  const parsed = devFileSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new BerthError("config.invalid", `${path} lacks what berth needs: run "npm start" again`);
}
