/** An environment that takes in a component which is not its own: built in a copy of the tree. */
import { appendFile, cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../source.ts";
import { buildAt } from "./kustomize.ts";
import type { Manifest } from "./manifest.ts";

const PARTS = ["kubernetes", "monitoring", "nats/configurations"];

/** The environment must have no components of its own: the key is written once. */
export async function buildWith(component: string, environment: string): Promise<Manifest[]> {
  const folder = await mkdtemp(join(tmpdir(), "berth-taken-in-"));
  try {
    for (const part of PARTS)
      await cp(join(ROOT, "deploy", part), join(folder, part), { recursive: true });
    const path = join(folder, "kubernetes", "environments", environment);
    const line = `components: [../../components/${component}]\n`;
    await appendFile(join(path, "kustomization.yaml"), line);
    return await buildAt(path);
  } finally {
    await rm(folder, { recursive: true });
  }
}
