/** Where an agent finds the providers of whose keys it has placeholders. */
import { BROKER_PATH, BROKERED_PROVIDERS } from "../protocols/brokered.ts";
import { BerthError } from "../protocols/errors.ts";

/** Throws `agent.credential_missing` where there is no proxy, which alone could put a key in. */
export function brokeredAddresses(
  providers: readonly string[] | undefined,
  proxyUrl: string | undefined,
): Record<string, string> {
  const variables = (providers ?? []).map((provider) => {
    const row = BROKERED_PROVIDERS[provider];
    if (proxyUrl === undefined || row === undefined)
      throw new BerthError("agent.credential_missing", `no ${provider} key is brokered here`);
    const { host } = new URL(proxyUrl);
    return [row.addressVariable, `http://${host}${BROKER_PATH}${row.api}${row.addressPath}`];
  });
  return Object.fromEntries(variables) as Record<string, string>;
}
