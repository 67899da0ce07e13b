/** What an ext4 filesystem says of itself, read from its image without mounting it. */
import { closeSync, openSync, readSync } from "node:fs";

/** `foreign`: no filesystem of ours. `unclean`: its host died while it was mounted, or it has found an error in itself. */
export type FilesystemState = "clean" | "unclean" | "foreign";

/** Offsets of `struct ext4_super_block`, which begins at byte 1024. */
const START = 1024;
const LENGTH = 1024;
const MAGIC_AT = 0x38;
const STATE_AT = 0x3a;
const INCOMPAT_AT = 0x60;

const MAGIC = 0xef53;
const IS_VALID = 0x1;
const HAS_ERRORS = 0x2;
/** A feature flag: set while a filesystem with a journal is mounted. */
const NEEDS_RECOVERY = 0x4;

export function decideState(superblock: Uint8Array): FilesystemState {
  if (superblock.length < LENGTH) return "foreign";
  const view = new DataView(superblock.buffer, superblock.byteOffset, superblock.byteLength);
  if (view.getUint16(MAGIC_AT, true) !== MAGIC) return "foreign";
  const state = view.getUint16(STATE_AT, true);
  const isWhole = (state & IS_VALID) !== 0 && (state & HAS_ERRORS) === 0;
  const isReplayed = (view.getUint32(INCOMPAT_AT, true) & NEEDS_RECOVERY) === 0;
  return isWhole && isReplayed ? "clean" : "unclean";
}

export function readState(image: string): FilesystemState {
  const file = openSync(image, "r");
  try {
    const superblock = new Uint8Array(LENGTH);
    const length = readSync(file, superblock, 0, LENGTH, START);
    return decideState(superblock.subarray(0, length));
  } finally {
    closeSync(file);
  }
}
