/** Much mail for one meter, or a little for many, stored as fast as the broker takes it. */
import type { Transport } from "../../runtime/transport.ts";

const LANES = { hit: "user", later: "background", urgent: "control" } as const;

/** `count` messages, numbered from 0 and stored in that order; `width` on their way at once. */
export function flood(
  transport: Transport,
  key: string,
  count: number,
  options: { readonly type?: keyof typeof LANES; readonly width?: number } = {},
): Promise<void> {
  const type = options.type ?? "hit";
  return inBatches(count, options.width ?? 256, (n) => send(transport, key, type, n));
}

/** One message to each of `count` meters. */
export function floodMany(transport: Transport, count: number): Promise<void> {
  return inBatches(count, 512, (n) => send(transport, `many-${n}`, "hit", 0));
}

function send(transport: Transport, key: string, type: keyof typeof LANES, n: number) {
  const ref = { kind: "meter", tenant: "acme", key };
  const id = `flood-${key}-${type}-${n}`;
  const envelope = { id, type, payload: { n }, sentAt: Date.now() };
  return transport.mailboxes.send(ref, LANES[type], envelope);
}

async function inBatches(
  count: number,
  width: number,
  sendOne: (n: number) => Promise<unknown>,
): Promise<void> {
  for (let from = 0; from < count; from += width) {
    const size = Math.min(width, count - from);
    await Promise.all(Array.from({ length: size }, (_, i) => sendOne(from + i)));
  }
}
