/** How a client makes sure that it speaks to our broker, whatever stands between: by the certificate, not by the address. */
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import type { BrokerTls } from "../../protocols/executor.ts";

/** The option `tls` of the client library, which passes on to Node what it does not know. */
export function tlsOptions({ ca, names }: BrokerTls): { readonly ca: string } {
  const check = (_: string, certificate: PeerCertificate): Error | undefined => {
    const failures = names.map((name) => checkServerIdentity(name, certificate));
    return failures.includes(undefined) ? undefined : failures[0];
  };
  return Object.assign({ ca }, { checkServerIdentity: check });
}
