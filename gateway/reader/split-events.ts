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
const CLOSE_LIST = 0x5d;

/** [from, to) of each event; undefined when the record does not begin with its events: then it has to be parsed. */
export function splitEvents(bytes: Buffer): [number, number][] | undefined {
  if (bytes.length <= START.length || bytes.compare(START, 0, START.length, 0, START.length) !== 0)
    return undefined;
  const parts: [number, number][] = [];
  let at = START.length;
  while (bytes[at] === OPEN) {
    const end = endOfObject(bytes, at);
    if (end === undefined) return undefined;
    parts.push([at, end]);
    at = bytes[end] === COMMA ? end + 1 : end;
  }
  return bytes[at] === CLOSE_LIST ? parts : undefined;
}

/** Index behind the object that begins at `from`. Lists in it need no count: what is in them closes before they do. */
function endOfObject(bytes: Buffer, from: number): number | undefined {
  let depth = 0;
  for (let at = from; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      at = endOfString(bytes, at + 1);
    } else if (byte === OPEN) {
      depth += 1;
    } else if (byte === CLOSE) {
      depth -= 1;
      if (depth === 0) return at + 1;
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
