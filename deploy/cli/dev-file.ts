import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { BerthError } from "../../protocols/errors.ts";

/** What `npm start` leaves behind for everyone who works beside it. */
export const devFileSchema = z.object({
  url: z.string(),
  metrics_url: z.string().optional(),
  nats_url: z.string().optional(),
  keys: z.record(z.string(), z.string()),
});
export type DevFile = z.infer<typeof devFileSchema>;

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
