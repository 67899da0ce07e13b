/** A certificate and its key in files, read again as they change: whoever renews them restarts nothing. */
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import type { KeyPair, TlsSource } from "../gateway/listener.ts";
import { asBerthError, BerthError } from "../protocols/errors.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Config } from "./config.ts";

/** Files of mounted secrets are links that move: they are compared, not watched. */
const CHECK_MS = 10_000;

export interface TlsFiles extends TlsSource {
  stop(): void;
}

/** Throws `config.invalid` when the files cannot be read or do not belong together. */
export async function openTlsFiles(deps: {
  readonly certPath: string;
  readonly keyPath: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly checkMs?: number;
}): Promise<TlsFiles> {
  const { certPath, checkMs = CHECK_MS, clock, keyPath, logger } = deps;
  let current = await readPair(certPath, keyPath);
  const listeners = new Set<(pair: KeyPair) => void>();
  let stopTimer: () => void = () => undefined;
  let isStopped = false;

  const check = async () => {
    try {
      const next = await readPair(certPath, keyPath);
      if (next.cert === current.cert && next.key === current.key) return;
      current = next;
      for (const fn of listeners) fn(next);
      logger.info({ certPath }, "the certificate was renewed");
    } catch (thrown) {
      // Half of a pair is seen while both are written; the pair before goes on.
      logger.warn({ err: asBerthError(thrown), certPath }, "a changed certificate cannot be used");
    }
  };
  const arm = () => {
    stopTimer = clock.after(checkMs, () => {
      void check().then(() => {
        if (!isStopped) arm();
      });
    });
  };
  arm();
  return {
    get current() {
      return current;
    },
    onChange(fn) {
      listeners.add(fn);
      return () => listeners.delete(fn);
    },
    stop() {
      isStopped = true;
      stopTimer();
    },
  };
}

export interface ListenerTls {
  readonly api?: TlsSource;
  readonly metrics?: TlsSource;
  stop(): void;
}

/** Which listeners speak TLS, by the configuration. */
export async function openListenerTls(
  { BERTH_METRICS_TLS, BERTH_TLS_CERT, BERTH_TLS_KEY }: TlsSettings,
  parts: { readonly clock: Clock; readonly logger: Logger },
): Promise<ListenerTls> {
  if (BERTH_TLS_CERT === undefined || BERTH_TLS_KEY === undefined) return { stop: () => undefined };
  const paths = { certPath: BERTH_TLS_CERT, keyPath: BERTH_TLS_KEY };
  const files = await openTlsFiles({ ...parts, ...paths });
  return {
    api: files,
    ...(BERTH_METRICS_TLS === "on" ? { metrics: files } : {}),
    stop: () => files.stop(),
  };
}

type TlsSettings = Pick<Config, "BERTH_METRICS_TLS" | "BERTH_TLS_CERT" | "BERTH_TLS_KEY">;

async function readPair(certPath: string, keyPath: string): Promise<KeyPair> {
  try {
    const [cert, key] = await Promise.all([readFile(certPath, "utf8"), readFile(keyPath, "utf8")]);
    createSecureContext({ cert, key });
    return { cert, key };
  } catch (cause) {
    const message = `${certPath} and ${keyPath} are not a certificate and its key`;
    throw new BerthError("config.invalid", message, { field: "BERTH_TLS_CERT", cause });
  }
}
