/** Ids that nobody guesses and that sort by time. */
import { ulid } from "ulid";

/** Random bytes drawn at once: a drawing costs as much as thousands of bytes do, and an id takes 16. */
const POOL_BYTES = 4_096;
const VALUES_OF_BYTE = 256;

const pool = new Uint8Array(POOL_BYTES);
let used = POOL_BYTES;

/** `now` is what its first half says, in milliseconds since 1970 (default: the system's clock). */
export function freshUlid(now?: number): string {
  return ulid(now, draw);
}

/** In [0, 1), each byte once. */
function draw(): number {
  if (used === POOL_BYTES) {
    crypto.getRandomValues(pool);
    used = 0;
  }
  const byte = pool[used] ?? 0;
  used += 1;
  return byte / VALUES_OF_BYTE;
}
