/** Where the process driver's workers live on disk: kept workspaces by tenant and key, others under the temporary folder. */
import { readdirSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { WorkerSpec } from "../../protocols/executor.ts";
import { parseId } from "../../protocols/ids.ts";
import { removeTree } from "../workspace.ts";
import type { KeptWorkspace, Wanted } from "./driver.ts";

export class ProcessWorkspaces {
  readonly #root: string;

  constructor(dataDir: string) {
    this.#root = join(dataDir, "workspaces");
  }

  rootOf({ worker, tenant, workspace, workspace_key }: WorkerSpec): string {
    return workspace === "job"
      ? join(tmpdir(), `berth-${worker}`)
      : this.#path(tenant, workspace_key);
  }

  /** What goes with its worker: all of it, or its temporary files alone. */
  async forget(spec: WorkerSpec): Promise<void> {
    const root = this.rootOf(spec);
    await removeTree(spec.workspace === "job" ? root : join(root, "tmp"));
  }

  /** Rejects with `id.invalid` for names that could lead elsewhere. */
  async remove(tenant: string, key: string): Promise<void> {
    await removeTree(this.#path(tenant, key));
  }

  /** Removes those that no worker uses and nobody wants. `specs` is asked again: answers take time, and workers start. */
  async sweep(
    specs: () => readonly WorkerSpec[],
    { isWorkspaceWanted: isWanted, leave }: Pick<Wanted, "isWorkspaceWanted" | "leave">,
  ): Promise<readonly string[]> {
    const removed: string[] = [];
    for (const workspace of this.#kept()) {
      const { tenant, key } = workspace;
      const path = this.#path(tenant, key);
      const isUsed = () => specs().some((spec) => this.rootOf(spec) === path);
      const name = `workspace ${tenant}/${key}`;
      try {
        if (isUsed() || (await isWanted(workspace)) || isUsed()) continue;
        await this.remove(tenant, key);
        removed.push(name);
      } catch (thrown) {
        leave(name, thrown);
      }
    }
    return removed;
  }

  #kept(): KeptWorkspace[] {
    return foldersIn(this.#root).flatMap((tenant) =>
      foldersIn(join(this.#root, tenant)).map((key) => ({
        tenant,
        key,
        usedAt: statSync(this.#path(tenant, key)).mtimeMs,
      })),
    );
  }

  #path(tenant: string, key: string): string {
    return join(this.#root, parseId(tenant, "tenant"), parseId(key, "workspace_key"));
  }
}

function foldersIn(path: string): string[] {
  try {
    const entries = readdirSync(path, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch {
    return [];
  }
}
