/** Names to addresses, asked of servers that the operator chose and of nobody else: not of the host's file of names either. */
import { Resolver } from "node:dns/promises";

/** Rejects when the name leads nowhere, or nobody answered. */
export type ResolveName = (name: string) => Promise<readonly string[]>;

/** In two tries. */
const TIMEOUT_MS = 2_500;
const TRIES = 2;

/** `servers`: addresses, with `:port` if need be; none: those of the host. */
export function nameResolver(servers: readonly string[]): ResolveName {
  const resolver = new Resolver({ timeout: TIMEOUT_MS, tries: TRIES });
  if (servers.length > 0) resolver.setServers(servers);
  return async (name) => {
    const [four, six] = await Promise.allSettled([
      resolver.resolve4(name),
      resolver.resolve6(name),
    ]);
    const found = [four, six].flatMap((answer) =>
      answer.status === "fulfilled" ? answer.value : [],
    );
    if (found.length === 0 && four.status === "rejected") throw four.reason;
    return found;
  };
}
