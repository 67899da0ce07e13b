/**
 * Two connections as one. Invariants:
 * D1 A slow side slows the other one: no more of a connection is held than the sockets' own buffers.
 * D2 An end of one direction passes and the other direction goes on; a broken connection breaks its other half.
 */
import type { Socket } from "node:net";

export function joinSockets(near: Socket, far: Socket): void {
  for (const [from, to] of [
    [near, far],
    [far, near],
  ] as const) {
    from.pipe(to); // D1, and D2: it ends `to` when `from` has ended.
    from.once("close", (isBroken) => {
      if (isBroken) to.resetAndDestroy();
      else to.destroySoon(); // After what is still to be written.
    });
  }
}
