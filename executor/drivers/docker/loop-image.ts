/**
 * A filesystem in a file: its size is a limit that the kernel keeps, and what is not used of it takes no disk.
 *
 * Invariants:
 * I1 An image is a whole filesystem or is not there: it is made under another name, then renamed.
 * I2 It is checked and grown only while no loop device holds it, and removed only then.
 * I3 One program at a time works on it, also one that outlived the process of ours that started it: the programs
 *    themselves hold the lock.
 * I4 No setuid file and no device in it takes effect. Its root is the workers' alone, whatever a worker made of it.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  truncateSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { BerthError } from "../../../protocols/errors.ts";
import type { Clock } from "../../../runtime/clock.ts";
import type { Logger } from "../../../runtime/logger.ts";
import { mustRun, type RunCommand } from "./command.ts";
import type { Mounts } from "./mounts.ts";
import { readState } from "./superblock.ts";
import { WORKSPACE_MODE, WORKSPACE_OWNER } from "./workspaces.ts";

export interface ImageParts {
  readonly run: RunCommand;
  readonly mounts: Mounts;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface ImageSize {
  readonly bytes: number;
  /** The filesystem is smaller as yet. Grows while nobody uses it: not if it is mounted already. */
  readonly mustGrow: boolean;
  /** False: what it holds need not survive the host. */
  readonly hasJournal: boolean;
}

const GIB = 1024 ** 3;
/** Enough for a busy filesystem; the default of a large one is a GiB, all of which is written in time. */
const LARGE_JOURNAL_MIB = 32;
/**
 * `noinit_itable`: tables of inodes that nobody uses are not written. `discard`: what a worker deletes, the host has
 * again. `errors`: nothing is written to what has been found broken.
 */
const MOUNT_OPTIONS = "loop,nosuid,nodev,noatime,noinit_itable,discard,errors=remount-ro";
const LOCK_WAIT_S = 60;
/** No code of the programs that are run under the lock. */
const LOCK_IS_HELD = 75;
/** The kernel lets a loop device go a moment after its filesystem. */
const HELD_MS = 10_000;
const LOOK_EVERY_MS = 20;
const CORRECTED = 1;
const LEFT_UNCORRECTED = 4;

let made = 0;

export class LoopImage {
  readonly path: string;
  /** Where it is mounted. */
  readonly folder: string;
  readonly #parts: ImageParts;

  constructor(parts: ImageParts, path: string, folder: string) {
    this.#parts = parts;
    this.path = path;
    this.folder = folder;
  }

  isMounted(): boolean {
    return this.#parts.mounts.at(this.folder) !== undefined;
  }

  /** Mounts it, and makes it first if need be. Safe to repeat. Resolves with whether it has the size that is asked for. */
  async open(size: ImageSize): Promise<boolean> {
    const isFirst = !this.isMounted();
    if (isFirst) await this.#mount(size);
    this.#settle();
    return isFirst || !size.mustGrow;
  }

  /** Unmounts it. Safe to repeat. With its folder goes what a namespace apart from ours still has mounted there. */
  async close(): Promise<void> {
    await this.#parts.mounts.unmount(this.folder);
    if (existsSync(this.folder)) rmdirSync(this.folder);
  }

  /** With all that it holds, and what was left of making it. Safe to repeat. */
  async remove(): Promise<void> {
    await this.close();
    if (existsSync(this.path)) await this.#untilFree();
    rmSync(this.path, { force: true });
    this.#removeHalfMade();
  }

  async #mount(size: ImageSize): Promise<void> {
    mkdirSync(this.folder, { recursive: true, mode: WORKSPACE_MODE });
    if (existsSync(this.path)) await this.#care(size);
    else await this.#make(size);
    await this.#locked("mount", ["-t", "ext4", "-o", MOUNT_OPTIONS, this.path, this.folder]);
  }

  /** I1. */
  async #make({ bytes, hasJournal }: ImageSize): Promise<void> {
    this.#removeHalfMade();
    const fresh = `${this.path}.${process.pid}-${++made}.new`;
    const file = openSync(fresh, "wx", 0o600);
    ftruncateSync(file, bytes);
    closeSync(file);
    const lazy = "lazy_itable_init=1,lazy_journal_init=1";
    await mustRun(this.#parts.run, "mkfs.ext4", [
      ...["-q", "-F", "-m", "0", "-E", `root_owner=${WORKSPACE_OWNER}:${WORKSPACE_OWNER},${lazy}`],
      ...(hasJournal ? [] : ["-O", "^has_journal"]),
      ...(hasJournal && bytes >= GIB ? ["-J", `size=${LARGE_JOURNAL_MIB}`] : []),
      fresh,
    ]);
    renameSync(fresh, this.path);
  }

  /** I2. */
  async #care({ bytes, mustGrow }: ImageSize): Promise<void> {
    await this.#untilFree();
    const state = readState(this.path);
    if (state === "foreign")
      throw new BerthError("driver.failed", `${this.path} is no filesystem of a workspace`);
    if (state === "unclean") await this.#check([]);
    if (!mustGrow) return;
    if (statSync(this.path).size < bytes) truncateSync(this.path, bytes);
    await this.#check(["-f"]);
    await this.#locked("resize2fs", [this.path]);
  }

  async #check(flags: readonly string[]): Promise<void> {
    const { log } = this.#parts;
    const allowed = [0, CORRECTED, LEFT_UNCORRECTED, LEFT_UNCORRECTED + CORRECTED];
    const said = await this.#locked("e2fsck", ["-p", ...flags, this.path], allowed);
    if (readState(this.path) === "clean") return;
    // Repairs that may cost files: its worker could never start again without them.
    log.error({ image: this.path, said }, "a workspace is damaged and is being repaired");
    await this.#locked("e2fsck", ["-f", "-y", this.path], [0, CORRECTED]);
  }

  /** I3. */
  async #locked(
    program: string,
    args: readonly string[],
    allowed?: readonly number[],
  ): Promise<string> {
    const lock = ["--wait", String(LOCK_WAIT_S), "--conflict-exit-code", String(LOCK_IS_HELD)];
    const command = [...lock, this.path, program, ...args];
    return await mustRun(this.#parts.run, "flock", command, allowed);
  }

  /** I2: a mount in another namespace would go on writing to it. */
  async #untilFree(): Promise<void> {
    const { clock } = this.#parts;
    const until = clock.monotonic() + HELD_MS;
    while (backingFiles().includes(this.path)) {
      if (clock.monotonic() > until)
        throw new BerthError("driver.failed", `a loop device still holds ${this.path}`);
      await clock.sleep(LOOK_EVERY_MS);
    }
  }

  /** I4. A folder that only a check of the filesystem would use is no business of the worker's. */
  #settle(): void {
    chownSync(this.folder, WORKSPACE_OWNER, WORKSPACE_OWNER);
    chmodSync(this.folder, WORKSPACE_MODE);
    const found = join(this.folder, "lost+found");
    const stat = lstatSync(found, { throwIfNoEntry: false });
    if (stat?.isDirectory() && stat.uid === 0 && readdirSync(found).length === 0) rmdirSync(found);
  }

  #removeHalfMade(): void {
    const [parent, prefix] = [dirname(this.path), `${basename(this.path)}.`];
    if (!existsSync(parent)) return;
    for (const name of readdirSync(parent)) {
      if (name.startsWith(prefix) && name.endsWith(".new")) rmSync(join(parent, name));
    }
  }
}

/** Of all loop devices, in every namespace. */
function backingFiles(): string[] {
  return readdirSync("/sys/block")
    .filter((name) => name.startsWith("loop"))
    .flatMap((name) => {
      try {
        return [readFileSync(`/sys/block/${name}/loop/backing_file`, "utf8").trimEnd()];
      } catch {
        // It holds nothing.
        return [];
      }
    });
}
