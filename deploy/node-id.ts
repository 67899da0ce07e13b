/** The name under which a node comes back: kept in its data folder. */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseId } from "../protocols/ids.ts";

/** Makes one at the first start. Throws `id.invalid` when the file holds something else. */
export async function stableNodeId(dataDir: string): Promise<string> {
  const path = join(dataDir, "node-id");
  await mkdir(dataDir, { recursive: true });
  if (!existsSync(path)) {
    const id = `node-${randomUUID().slice(0, 8)}`;
    await writeFile(path, `${id}\n`, { flag: "wx" }).catch(() => undefined);
  }
  return parseId((await readFile(path, "utf8")).trim(), "node-id");
}
