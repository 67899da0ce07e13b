/** The lines of a `nats.conf` by which a server speaks TLS to clients; none without a certificate. */
import { resolve } from "node:path";
import type { Config } from "../config.ts";

export function tlsLines({
  BERTH_NATS_TLS_CERT: cert,
  BERTH_NATS_TLS_KEY: key,
}: Pick<Config, "BERTH_NATS_TLS_CERT" | "BERTH_NATS_TLS_KEY">): string[] {
  if (cert === undefined || key === undefined) return [];
  const [certFile, keyFile] = [cert, key].map((path) => JSON.stringify(resolve(path)));
  return [`tls { cert_file: ${certFile}, key_file: ${keyFile} }`];
}
