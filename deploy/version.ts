import { readFileSync } from "node:fs";
import { z } from "zod";

/** The package's version: package.json is one folder up from the sources, two from what is built. */
function readVersion(): string {
  for (const path of ["../package.json", "../../package.json"]) {
    try {
      const parsed = z
        .object({ name: z.literal("berth"), version: z.string() })
        .safeParse(JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8")));
      if (parsed.success) return parsed.data.version;
    } catch {
      // Not there: the other place is.
    }
  }
  return "0.0.0";
}

export const version = readVersion();
