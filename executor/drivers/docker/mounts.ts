/**
 * Mounts of this host. What is mounted is what the kernel says at this moment, never what we remember: an earlier process
 * of ours may have been killed at any instant.
 */
import { readFileSync } from "node:fs";
import type { Clock } from "../../../runtime/clock.ts";
import { mustRun, type RunCommand } from "./command.ts";

export interface Mount {
  readonly id: string;
  readonly parent: string;
  /** `major:minor`: equal for all mounts of one filesystem. */
  readonly device: string;
  readonly target: string;
  /** Of mounts that follow one another; undefined for a private one. */
  readonly peerGroup: string | undefined;
}

/** A process that has just ended may hold a mount for a moment; one that lives is waited for no longer than this. */
const BUSY_MS = 10_000;
const LOOK_EVERY_MS = 20;
const UMOUNT_FAILED = 32;

/** In the order of mounting: the last at a target is the one that is seen. */
export function parseMountInfo(text: string): Mount[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [id = "", parent = "", device = "", , target = "", , ...optional] = line.split(" ");
      const tags = optional.slice(0, optional.indexOf("-"));
      const shared = tags.find((tag) => tag.startsWith("shared:"));
      return { id, parent, device, target: decodePath(target), peerGroup: shared?.slice(7) };
    });
}

/** The kernel writes blanks and backslashes as octal numbers. */
function decodePath(path: string): string {
  return path.replaceAll(/\\(\d{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

export class Mounts {
  readonly #run: RunCommand;
  readonly #clock: Clock;

  constructor(parts: { readonly run: RunCommand; readonly clock: Clock }) {
    this.#run = parts.run;
    this.#clock = parts.clock;
  }

  all(): Mount[] {
    return parseMountInfo(readFileSync("/proc/self/mountinfo", "utf8"));
  }

  /** Undefined when nothing is mounted there. */
  at(target: string): Mount | undefined {
    return this.all().findLast((mount) => mount.target === target);
  }

  async bind(from: string, to: string): Promise<void> {
    await mustRun(this.#run, "mount", ["--bind", from, to]);
  }

  /**
   * Makes the folder a mount of its own that hands later mounts below it on to containers. Not in the peer group of the
   * mount that it lies in, where each mount below it would be made twice.
   */
  async share(folder: string): Promise<void> {
    if (this.at(folder) === undefined) await this.bind(folder, folder);
    const all = this.all();
    const own = all.findLast(({ target }) => target === folder);
    const outer = all.find(({ id }) => id === own?.parent);
    if (own?.peerGroup !== undefined && own.peerGroup !== outer?.peerGroup) return;
    await mustRun(this.#run, "mount", ["--make-private", folder]);
    await mustRun(this.#run, "mount", ["--make-shared", folder]);
  }

  /** Safe to repeat. Rejects with `driver.failed` when a process keeps it busy. */
  async unmount(target: string): Promise<void> {
    const until = this.#clock.monotonic() + BUSY_MS;
    while (this.at(target) !== undefined) {
      const isLastTry = this.#clock.monotonic() > until;
      await mustRun(this.#run, "umount", [target], isLastTry ? [0] : [0, UMOUNT_FAILED]);
      if (this.at(target) !== undefined) await this.#clock.sleep(LOOK_EVERY_MS);
    }
  }
}
