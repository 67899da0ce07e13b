/**
 * Where the events of a journal record lie in its bytes. The runtime writes them first in the record, so that
 * the state behind them, which no reader wants, is not even looked at. Pure.
 */
const START = Buffer.from('{"events":[');
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN = 0x7b;
const CLOSE = 0x7d;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;

/** [from, to) of each event; undefined when the record does not begin with its events: then it has to be parsed. */
export function splitEvents(bytes: Buffer): [number, number][] | undefined {
  if (bytes.compare(START, 0, START.length, 0, Math.min(START.length, bytes.length)) !== 0) {
    return undefined;
  }
  const parts: [number, number][] = [];
  let from = START.length;
  let depth = 0;
  for (let at = from; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      at = endOfString(bytes, at + 1);
    } else if (byte === OPEN || byte === OPEN_LIST) {
      depth += 1;
    } else if (byte === CLOSE || byte === CLOSE_LIST) {
      if (depth === 0) return byte === CLOSE_LIST && from === at ? parts : undefined;
      depth -= 1;
      if (depth > 0) continue;
      parts.push([from, at + 1]);
      from = at + 1;
      if (bytes[from] === COMMA) {
        at = from;
        from += 1;
      }
    }
  }
  return undefined;
}

/** Index of the quote that ends the string whose first character is at `at`. */
function endOfString(bytes: Buffer, at: number): number {
  let end = at;
  while (end < bytes.length && bytes[end] !== QUOTE) end += bytes[end] === BACKSLASH ? 2 : 1;
  return end;
}
