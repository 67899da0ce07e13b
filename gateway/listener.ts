/** Listeners by TLS or without it. A certificate that is renewed is taken over while connections go on. */
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Server as TlsServer } from "node:tls";

export interface KeyPair {
  /** PEM, with the chain. */
  readonly cert: string;
  readonly key: string;
}

/** Where certificates come from. */
export interface TlsSource {
  readonly current: KeyPair;
  /** Calls back with each pair that replaces the one before; the returned function ends it. */
  onChange(fn: (pair: KeyPair) => void): () => void;
}

/** Nothing older is spoken; a handshake takes no longer than headers may. */
export function tlsOptions({ current }: TlsSource, handshakeMs: number) {
  return { ...current, minVersion: "TLSv1.2" as const, handshakeTimeout: handshakeMs };
}

/** Until it is closed, the server takes over what the source renews. */
export function followKeyPair(server: Server, tls: TlsSource | undefined): void {
  if (!tls) return;
  const stop = tls.onChange((pair) => (server as unknown as TlsServer).setSecureContext(pair));
  server.once("close", stop);
}

const HANDSHAKE_MS = 10_000;

export function createListener(tls: TlsSource | undefined, handle: RequestListener): Server {
  if (!tls) return createServer(handle);
  const server = createTlsServer(tlsOptions(tls, HANDSHAKE_MS), handle) as unknown as Server;
  followKeyPair(server, tls);
  return server;
}

export function schemeOf(tls: TlsSource | undefined): "http" | "https" {
  return tls ? "https" : "http";
}
