/**
 * Which block of addresses a network gets. The engine's own choice ends after 30 networks, so blocks are cut from a
 * range of ours, around what the engine and the host use already.
 */
import { BerthError } from "../../../protocols/errors.ts";

/** Length of the prefix of a network for the shared pool (1,021 workers; a bridge takes 1,023), and of any other (29). */
export const SHARED_PREFIX = 22;
export const OWN_PREFIX = 27;

interface Block {
  /** First address, as a number. */
  readonly base: number;
  /** Addresses in it. */
  readonly size: number;
}

/** Undefined for what is no IPv4 block, such as one of IPv6. An address without a prefix is a block of one. */
function tryParseBlock(text: string): Block | undefined {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)(?:\/(\d+))?$/.exec(text);
  if (match === null) return undefined;
  const [a, b, c, d, prefix = 32] = match.slice(1).map((n) => (n === undefined ? n : Number(n)));
  const bytes = [a, b, c, d].filter((byte) => byte !== undefined);
  if (prefix > 32 || bytes.some((byte) => byte > 255)) return undefined;
  const size = 2 ** (32 - prefix);
  const address = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  return { base: address - (address % size), size };
}

function addressOf(number: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join(".");
}

const overlaps = (a: Block, b: Block) => a.base < b.base + b.size && b.base < a.base + a.size;

/** The address that the host has in a subnet: its first. */
export function gatewayOf(subnet: string): string {
  const block = tryParseBlock(subnet);
  if (block === undefined) throw new BerthError("internal.unexpected", `${subnet} is no subnet`);
  return addressOf(block.base + 1);
}

/** Throws `config.invalid` when the range is none or too small for the shared network and others beside it. */
export function checkRange(range: string): void {
  const block = tryParseBlock(range);
  if (block === undefined || block.size <= 2 ** (32 - SHARED_PREFIX)) {
    const message = `networks of workers need a range such as 10.212.0.0/14, larger than a /${SHARED_PREFIX}: ${range}`;
    throw new BerthError("config.invalid", message);
  }
}

/**
 * A block of the range that overlaps nothing taken, or undefined when there is none. Large blocks are looked for in the
 * last quarter of the range first and small ones in the rest, so that small ones do not leave gaps only.
 */
export function decideSubnet(
  range: string,
  prefix: number,
  { taken, seed }: { readonly taken: readonly string[]; readonly seed: number },
): string | undefined {
  const whole = tryParseBlock(range);
  const size = 2 ** (32 - prefix);
  if (whole === undefined || whole.size < size) return undefined;
  const others = taken.flatMap((text) => tryParseBlock(text) ?? []);
  const count = whole.size / size;
  const border = Math.floor((count * 3) / 4);
  const parts = [
    { from: 0, to: border },
    { from: border, to: count },
  ];
  for (const { from, to } of prefix < 25 ? parts.toReversed() : parts) {
    for (let i = 0; i < to - from; i += 1) {
      const base = whole.base + (from + ((seed + i) % (to - from))) * size;
      if (!others.some((other) => overlaps(other, { base, size }))) {
        return `${addressOf(base)}/${prefix}`;
      }
    }
  }
  return undefined;
}

/** What of a network is in the way of making it: another's addresses, another's device, another of its name. */
export type Clash = "subnet" | "bridge" | "name";

/** Reads the engine's refusal of a network: it has no codes for these. */
export function tryReadClash(status: number | undefined, message: string): Clash | undefined {
  if (status === undefined || status < 400) return undefined;
  if (/pool overlaps|overlapping IPv4/i.test(message)) return "subnet";
  if (/same bridge name/i.test(message)) return "bridge";
  if (status === 409 && /already exists/i.test(message)) return "name";
  return undefined;
}
