/** How many API requests a gateway may let through on its own before it asks again. */

/** The window starts with its first permit, as that of jobs does. */
export interface PermitWindow {
  readonly opened_at: number | null;
  readonly given: number;
}

export interface PermitLimits {
  readonly limit: number;
  readonly windowMs: number;
}

export interface PermitBlock {
  readonly granted: number;
  readonly remaining: number;
  readonly resetMs: number;
  readonly window: PermitWindow;
}

/** A window costs about so many asks while little of it is used. */
const BLOCKS_PER_WINDOW = 20;
/** Near the end of the limit blocks shrink, so that no gateway sits on permits that another one is asked for. */
const SHARE_OF_REST = 4;

/** Never gives out more than the limit within one window. */
export function decidePermits(
  window: PermitWindow,
  now: number,
  { limit, windowMs }: PermitLimits,
): PermitBlock {
  const { given, openedAt } = currentWindow(window, now, windowMs);
  const left = Math.max(0, limit - given);
  const share = Math.ceil(Math.min(limit / BLOCKS_PER_WINDOW, left / SHARE_OF_REST));
  const granted = Math.min(left, share);
  return {
    granted,
    remaining: left - granted,
    resetMs: openedAt + windowMs - now,
    window: { opened_at: openedAt, given: given + granted },
  };
}

/** What has not been given out of the window yet. */
export function permitsAt(
  window: PermitWindow,
  now: number,
  { limit, windowMs }: PermitLimits,
): { readonly remaining: number; readonly resetMs: number } {
  const { given, openedAt } = currentWindow(window, now, windowMs);
  return { remaining: Math.max(0, limit - given), resetMs: openedAt + windowMs - now };
}

function currentWindow({ given, opened_at }: PermitWindow, now: number, windowMs: number) {
  const isOpen = opened_at !== null && now < opened_at + windowMs;
  return isOpen ? { given, openedAt: opened_at } : { given: 0, openedAt: now };
}
