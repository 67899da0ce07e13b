/** One account after the other: what fails for one keeps no other from its turn. */
import { asBerthError, type BerthError } from "../../protocols/errors.ts";
import type { Logger } from "../logger.ts";

/** So many accounts in a row that the broker did not take: it is away, and each further one would be waited for. */
const BROKER_IS_AWAY = 3;

/** Ends early when the broker is away. Gives the failure that is to be known: one that may pass, before any other. */
export async function accountRound(
  names: readonly string[],
  act: (name: string) => Promise<void>,
  { logger, failed }: { readonly logger: Logger; readonly failed: string },
): Promise<BerthError | undefined> {
  const failures: BerthError[] = [];
  let missed = 0;
  for (const name of names) {
    try {
      await act(name);
      missed = 0;
    } catch (thrown) {
      const err = asBerthError(thrown);
      failures.push(err);
      logger.warn({ err, account: name }, failed);
      missed = isAway(err) ? missed + 1 : 0;
      if (missed >= BROKER_IS_AWAY) break;
    }
  }
  return failures.find(isAway) ?? failures[0];
}

const isAway = ({ code }: BerthError) => code === "broker.unavailable";
