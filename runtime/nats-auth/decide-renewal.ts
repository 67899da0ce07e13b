/** When a worker's credential is renewed. Pure. */

export interface Validity {
  readonly issuer: string;
  /** Milliseconds since the epoch. */
  readonly expires_at: number;
}

/** Its host renews it at half of its life, and at once when its key is on the way out. */
export function isDue(
  held: Validity,
  { issuer, ttlMs, now }: { readonly issuer: string; readonly ttlMs: number; readonly now: number },
): boolean {
  return held.issuer !== issuer || held.expires_at - now < ttlMs / 2;
}

/** Any other node does so in the last quarter, if the host is away. */
export function isHighTime(
  held: Validity,
  { ttlMs, now }: { readonly ttlMs: number; readonly now: number },
): boolean {
  return held.expires_at - now < ttlMs / 4;
}
