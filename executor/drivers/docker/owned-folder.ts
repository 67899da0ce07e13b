/** An archive of one folder that belongs to the worker: the engine unpacks it as root, where we may not be. */
import { WORKSPACE_FOLDER, WORKSPACE_MODE, WORKSPACE_OWNER } from "./workspaces.ts";

const BLOCK_BYTES = 512;
const CHECKSUM_AT = 148;
const FOLDER_TYPE = "5";

/** A `tar` whose only entry is the folder of a workspace. What an existing one holds stays. */
export function ownedFolder(): Buffer {
  const header = Buffer.alloc(BLOCK_BYTES);
  const octal = (value: number) => `${value.toString(8).padStart(7, "0")}\0`;
  header.write(`${WORKSPACE_FOLDER}/`, 0);
  header.write(octal(WORKSPACE_MODE), 100);
  header.write(octal(WORKSPACE_OWNER), 108);
  header.write(octal(WORKSPACE_OWNER), 116);
  header.write(`${"0".repeat(11)}\0`, 124);
  header.write(`${"0".repeat(11)}\0`, 136);
  header.write(FOLDER_TYPE, 156);
  header.write("ustar\u000000", 257);
  // The sum is taken with blanks in its own place.
  header.write(" ".repeat(8), CHECKSUM_AT);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, CHECKSUM_AT);
  // Two empty blocks end an archive.
  return Buffer.concat([header, Buffer.alloc(2 * BLOCK_BYTES)]);
}
