/** How long a client that lost its gateway waits: not all come back at once. Pure. */

const RECONNECT_MS = { least: 100, spread: 2_000 } as const;

export function reconnectPauseMs(connection: string): number {
  return RECONNECT_MS.least + Math.floor(spread(connection) * RECONNECT_MS.spread);
}

/** A number in [0, 1) that differs from connection to connection, so that clients do not all come back at once. */
function spread(id: string): number {
  let hash = 0;
  for (const char of id) hash = (hash * 31 + char.charCodeAt(0)) % 1_000;
  return hash / 1_000;
}
