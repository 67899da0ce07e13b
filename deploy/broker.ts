/** Which broker a process uses, and what it has to get in. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { BerthError } from "../protocols/errors.ts";
import type { BrokerCredential, BrokerTls } from "../protocols/executor.ts";
import type { Config } from "./config.ts";
import { OperatorKeys, readCreds } from "./nats/auth/operator-keys.ts";

export interface Broker {
  /** One or several; user and password may stand in them. */
  readonly url: string;
  /** As workers reach it. */
  readonly workerUrl: string;
  /** This process's own, asked at every connect. Absent: what stands in the URL, or nothing. */
  readonly credential?: (() => BrokerCredential) | undefined;
  /** Where it speaks TLS. */
  readonly tls?: BrokerTls | undefined;
  /** Of a gateway in the same process. Absent: it shares the node's connection. */
  readonly gateway?: () => BrokerCredential;
  /** Of a node that gives each worker a credential of its own. Absent: workers share what stands in their URL. */
  readonly keys?: OperatorKeys;
}

/** The folder of a deployment's broker keys, in its data folder. */
export const authFolder = (dataDir: string) => join(resolve(dataDir), "nats-auth");

/** A broker that runs elsewhere, as the configuration has it. Throws `config.invalid`. */
export function externalBroker(config: Config): Broker {
  const { BERTH_NATS_URL: url, BERTH_NATS_CREDS: creds, BERTH_NATS_AUTH: folder } = config;
  if (url === undefined) {
    throw new BerthError("config.invalid", "which nats-server? Set BERTH_NATS_URL or give --nats", {
      field: "BERTH_NATS_URL",
    });
  }
  // Wrong files are told of now, not at the first connect.
  if (creds !== undefined) readCreds(creds);
  const keys = folder === undefined ? undefined : new OperatorKeys(folder);
  keys?.get("issuer");
  return {
    url,
    workerUrl: config.BERTH_WORKER_NATS_URL ?? url,
    tls: brokerTls(config, url),
    ...(creds === undefined ? {} : { credential: () => readCreds(creds) }),
    ...(keys === undefined ? {} : { keys }),
  };
}

/** Throws `config.invalid` when the file of authorities cannot be read. */
export function brokerTls({ BERTH_NATS_TLS_CA: path }: Config, url: string): BrokerTls | undefined {
  if (path === undefined) return undefined;
  try {
    return { ca: readFileSync(path, "utf8"), names: hostsOf(url) };
  } catch (cause) {
    const field = "BERTH_NATS_TLS_CA";
    throw new BerthError("config.invalid", `${field}: ${path} cannot be read`, { field, cause });
  }
}

/** Without ports. */
export function hostsOf(url: string): string[] {
  return url.split(",").map((part) => new URL(part.trim()).hostname);
}

/** What people are told of a broker that does not know single workers. */
export function brokerNotes({ keys }: Broker): string[] {
  if (keys) return [];
  return [
    "all workers share one credential of the broker: with BERTH_NATS_AUTH each has its own (docs/operations.md)",
  ];
}
