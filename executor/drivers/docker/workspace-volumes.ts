/** Kept workspaces as the engine's labelled volumes: where they live, or, of those that live in images, only to be seen and found by. */
import type Docker from "dockerode";
import { z } from "zod";
import { asBerthError } from "../../../protocols/errors.ts";
import type { WorkerSpec } from "../../../protocols/executor.ts";
import type { KeptWorkspace } from "../driver.ts";
import { type EngineOwner, filterOf, LABELS, partLabels, shortHash, specLabels } from "./labels.ts";
import type { WorkspaceName, WorkspaceRecords } from "./workspace-records.ts";

export interface VolumeParts {
  readonly docker: Docker;
  readonly owner: EngineOwner;
}

interface ListedVolume extends WorkspaceName {
  readonly volume: string;
  /** Milliseconds since the epoch; 0 when the engine does not say. */
  readonly createdAt: number;
  /** It shows a folder of the host, and holds nothing itself. */
  readonly isShown: boolean;
}

const listSchema = z.object({
  Volumes: z
    .array(
      z.object({
        Name: z.string(),
        Labels: z.record(z.string(), z.string()),
        CreatedAt: z.string().optional(),
        Options: z.record(z.string(), z.string()).nullish(),
      }),
    )
    .nullable(),
});

const NAME_DIGITS = 20;
const NOT_FOUND = 404;

export class WorkspaceVolumes {
  readonly #parts: VolumeParts;

  constructor(parts: VolumeParts) {
    this.#parts = parts;
  }

  /** Resolves with its name; one that is there already is left as it is. `device`: the folder that it shows. */
  async ensure(spec: WorkerSpec, device?: string): Promise<string> {
    const { docker, owner } = this.#parts;
    const { deployment, node } = owner;
    const whole = JSON.stringify([deployment, node, spec.tenant, spec.workspace_key, device]);
    const name = `berth-workspace-${shortHash(whole, NAME_DIGITS)}`;
    const { [LABELS.incarnation]: _, ...labels } = specLabels(spec);
    const shown = device === undefined ? {} : { DriverOpts: { type: "none", o: "bind", device } };
    await docker
      .createVolume({
        Name: name,
        Driver: "local",
        Labels: {
          ...partLabels(owner, "workspace"),
          ...labels,
          [LABELS.workspace]: spec.workspace_key,
        },
        ...shown,
      })
      .catch(failed);
    return name;
  }

  /** All workspaces that the engine or the disk knows of: what a removal left half done stands among them. */
  async kept(records: WorkspaceRecords): Promise<KeptWorkspace[]> {
    const volumes = await this.all();
    const shown = volumes.map(({ tenant, key, createdAt }) => ({ tenant, key, usedAt: createdAt }));
    const stored = records.workspaces().map((name) => ({ ...name, usedAt: records.usedAt(name) }));
    const byName = new Map(
      [...shown, ...stored].map((kept) => [`${kept.tenant}/${kept.key}`, kept]),
    );
    return [...byName.values()];
  }

  async all(): Promise<ListedVolume[]> {
    return await this.#list(filterOf(this.#parts.owner, "workspace").label);
  }

  async #named({ tenant, key }: WorkspaceName): Promise<ListedVolume[]> {
    const own = filterOf(this.#parts.owner, "workspace").label;
    return await this.#list([...own, `${LABELS.tenant}=${tenant}`, `${LABELS.workspace}=${key}`]);
  }

  /** Safe to repeat. Rejects with `driver.failed` while a container has it. */
  async remove(name: WorkspaceName): Promise<void> {
    for (const { volume } of await this.#named(name)) {
      await this.#parts.docker
        .getVolume(volume)
        .remove()
        .catch((thrown: unknown) => {
          if (statusOf(thrown) !== NOT_FOUND) failed(thrown);
        });
    }
  }

  /** Whether a container has one of them, also one that does not run. */
  async isMounted(name: WorkspaceName): Promise<boolean> {
    const volumes = (await this.#named(name)).map(({ volume }) => volume);
    if (volumes.length === 0) return false;
    const filters = { volume: volumes };
    const users = await this.#parts.docker.listContainers({ all: true, filters }).catch(failed);
    return users.length > 0;
  }

  async #list(label: string[]): Promise<ListedVolume[]> {
    const listed = await this.#parts.docker.listVolumes({ filters: { label } }).catch(failed);
    return (listSchema.parse(listed).Volumes ?? []).map(({ Name, Labels, CreatedAt, Options }) => ({
      volume: Name,
      tenant: Labels[LABELS.tenant] ?? "",
      key: Labels[LABELS.workspace] ?? "",
      createdAt: CreatedAt === undefined ? 0 : Date.parse(CreatedAt),
      isShown: Options?.["device"] !== undefined,
    }));
  }
}

function statusOf(thrown: unknown): unknown {
  return typeof thrown === "object" && thrown !== null && "statusCode" in thrown
    ? thrown.statusCode
    : undefined;
}

function failed(thrown: unknown): never {
  throw asBerthError(thrown, "driver.failed");
}
