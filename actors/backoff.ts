/** Pauses that double: `initialMs` after the first failure, at most `maxMs`. */
export function backoffMs(
  failures: number,
  range: { readonly initialMs: number; readonly maxMs: number },
): number {
  return Math.min(range.maxMs, range.initialMs * 2 ** Math.min(Math.max(0, failures - 1), 30));
}
