/**
 * What is on disk of slots and kept workspaces beside what they hold: the intent, written before anything is made and
 * removed after everything is gone. Calls are synchronous, so that nothing of ours comes between two of them.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { workerSpecSchema } from "../../../protocols/executor.ts";
import { ID_PATTERN, parseId } from "../../../protocols/ids.ts";

const slotSchema = z.object({
  mode: workerSpecSchema.shape.workspace,
  storage_bytes: z.number(),
  /** Null for a scratch, and for a slot that nobody has yet. */
  workspace: z.object({ tenant: z.string(), key: z.string() }).nullable(),
});
export type SlotRecord = z.infer<typeof slotSchema>;

const workspaceSchema = z.object({
  /** When it was last put into a slot or taken out of one: milliseconds since the epoch. */
  used_at: z.number(),
  /** What it has been made or grown to. */
  storage_bytes: z.number(),
});
export type WorkspaceRecord = z.infer<typeof workspaceSchema>;

export interface WorkspaceName {
  readonly tenant: string;
  readonly key: string;
}

const RECORD = ".json";
const HALF = ".new";
const OWNER_ONLY = 0o700;

export class WorkspaceRecords {
  /** One folder a slot, with its record beside it. */
  readonly slotsFolder: string;
  /** One folder a tenant. */
  readonly volumesFolder: string;

  constructor(root: string) {
    this.slotsFolder = join(root, "slots");
    this.volumesFolder = join(root, "volumes");
    for (const folder of [this.slotsFolder, this.volumesFolder])
      mkdirSync(folder, { recursive: true, mode: OWNER_ONLY });
  }

  /** Throws `id.invalid`. */
  slotFolder(slot: string): string {
    return join(this.slotsFolder, parseId(slot, "slot"));
  }

  /** Where a workspace's files begin: its record, and what belongs to it. Throws `id.invalid`. */
  workspaceBase({ tenant, key }: WorkspaceName): string {
    return join(this.volumesFolder, parseId(tenant, "tenant"), parseId(key, "workspace_key"));
  }

  imagePath(name: WorkspaceName): string {
    return `${this.workspaceBase(name)}.img`;
  }

  /** Also those of which nothing but a folder is left. */
  slots(): string[] {
    return idsIn(this.slotsFolder);
  }

  slot(slot: string): SlotRecord | undefined {
    return read(`${this.slotFolder(slot)}${RECORD}`, slotSchema);
  }

  writeSlot(slot: string, record: SlotRecord): void {
    write(`${this.slotFolder(slot)}${RECORD}`, record);
  }

  removeSlot(slot: string): void {
    remove(`${this.slotFolder(slot)}${RECORD}`);
  }

  /** Slots that are meant to hold the workspace. */
  slotsOf({ tenant, key }: WorkspaceName): string[] {
    return this.slots().filter((slot) => {
      const workspace = this.slot(slot)?.workspace;
      return workspace?.tenant === tenant && workspace.key === key;
    });
  }

  /** Whatever is left of each: a record, an image, a folder. */
  workspaces(): WorkspaceName[] {
    return idsIn(this.volumesFolder).flatMap((tenant) =>
      idsIn(join(this.volumesFolder, tenant)).map((key) => ({ tenant, key })),
    );
  }

  workspace(name: WorkspaceName): WorkspaceRecord | undefined {
    return read(`${this.workspaceBase(name)}${RECORD}`, workspaceSchema);
  }

  /** Of one whose record is lost: when it was last written to, as far as that is known. */
  usedAt(name: WorkspaceName): number {
    const written = statSync(this.imagePath(name), { throwIfNoEntry: false });
    return this.workspace(name)?.used_at ?? written?.mtimeMs ?? 0;
  }

  writeWorkspace(name: WorkspaceName, record: WorkspaceRecord): void {
    write(`${this.workspaceBase(name)}${RECORD}`, record);
  }

  /** With its tenant's folder, when that holds nothing else. */
  removeWorkspace(name: WorkspaceName): void {
    const base = this.workspaceBase(name);
    remove(`${base}${RECORD}`);
    const folder = dirname(base);
    if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder);
  }
}

/** Names of files up to their first dot: no identifier holds one. */
function idsIn(folder: string): string[] {
  const names = readdirSync(folder).map((name) => name.split(".")[0] ?? "");
  return [...new Set(names)].filter((name) => ID_PATTERN.test(name));
}

/** A record that cannot be read says nothing; what it stood for is still found by its name. */
function read<T>(path: string, schema: z.ZodType<T>): T | undefined {
  try {
    return schema.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch {
    return undefined;
  }
}

/** Readers see the old or the new record, never half of one. */
function write(path: string, record: SlotRecord | WorkspaceRecord): void {
  mkdirSync(dirname(path), { recursive: true, mode: OWNER_ONLY });
  writeFileSync(`${path}${HALF}`, JSON.stringify(record), { mode: 0o600 });
  renameSync(`${path}${HALF}`, path);
}

function remove(path: string): void {
  rmSync(path, { force: true });
  rmSync(`${path}${HALF}`, { force: true });
}
