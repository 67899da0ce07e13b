/**
 * Puts users' keys into requests to their providers, so that no agent has one.
 *
 * Invariants:
 * B1 A key goes to its provider's own host, over TLS that was verified, in one header, and nowhere else.
 * B2 It is opened for a job that runs, of its own user, asked for from its own worker, once the provider is reached that
 *    the tenant may reach, and forgotten with the request.
 * B3 What the worker sent as a credential is not passed on, and no redirect is followed.
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { type TLSSocket, connect as tlsConnect } from "node:tls";
import {
  BROKER_PATH,
  BROKERED_PROVIDERS,
  type BrokeredProvider,
} from "../../protocols/brokered.ts";
import { asBerthError } from "../../protocols/errors.ts";
import type { Placeholder } from "../../protocols/placeholder.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { CredentialSource } from "../../runtime/credential-source.ts";
import type { Logger } from "../../runtime/logger.ts";
import { tell } from "./answers.ts";
import { forward, type PassedHeaders } from "./forward.ts";
import type { Admitted, EgressGate, EgressWorker } from "./gate.ts";
import type { Refused } from "./refusals.ts";
import type { EgressTokens } from "./tokens.ts";

/** Ends a connection that is silent, or whose worker is gone. */
export type Watch = (far: Socket, isLive: () => boolean) => void;

export interface KeyBrokerParts {
  readonly gate: EgressGate;
  readonly tokens: EgressTokens;
  readonly credentials: CredentialSource;
  readonly isRunning: (placeholder: Placeholder) => Promise<boolean>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Default: `BROKERED_PROVIDERS`. */
  readonly providers?: Readonly<Record<string, BrokeredProvider>>;
  /** Whom a provider's certificate may be of; default: those that Node.js trusts. */
  readonly ca?: string;
}

interface Asked {
  readonly worker: EgressWorker;
  readonly placeholder: Placeholder;
  readonly provider: BrokeredProvider;
  readonly url: URL;
}

/** Where programs put a key: none of them is passed on (B3). */
const KEY_HEADERS = ["authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie"] as const;
const HANDSHAKE_WITHIN_MS = 10_000;
const HTTPS_PORT = 443;

export class KeyBroker {
  readonly #parts: KeyBrokerParts;

  constructor(parts: KeyBrokerParts) {
    this.#parts = parts;
  }

  /** Never rejects. */
  async serve(
    request: IncomingMessage,
    response: ServerResponse,
    { signal, watch }: { readonly signal: AbortSignal; readonly watch: Watch },
  ): Promise<void> {
    const asked = await this.#read(request);
    if ("status" in asked) return tell(response, asked);
    const admitted = await this.#reach(asked, signal);
    if ("status" in admitted) return tell(response, admitted);
    watch(admitted.far, admitted.isLive);
    const far = await this.#secure(admitted);
    if (far === undefined)
      return tell(response, this.#parts.gate.refused("unreachable", asked.worker, admitted.target));
    const key = await this.#open(asked);
    if (typeof key !== "string") {
      far.destroy();
      return tell(response, key);
    }
    const { host, pathname, search } = asked.url;
    const change = (headers: PassedHeaders) => withKey(headers, asked.provider, key);
    await forward({ request, response, far, host, path: `${pathname}${search}`, change });
  }

  /** Whose request it is, and for what (B2). */
  async #read({ url: text = "", headers, socket }: IncomingMessage): Promise<Asked | Refused> {
    const { gate, tokens, isRunning, clock, log, providers = BROKERED_PROVIDERS } = this.#parts;
    if (!gate.isReady) return gate.refused("starting");
    const placeholder = tokens.tryReadPlaceholder(placeholderIn(headers));
    const worker = placeholder && gate.find(placeholder.worker, gate.placeOf(socket));
    if (!placeholder || !worker || clock.now() >= placeholder.expires_at)
      return gate.refused("unknown_placeholder");
    const [name, rest] = splitOnce(text.slice(BROKER_PATH.length));
    const { provider: own } = placeholder;
    const provider = Object.hasOwn(providers, own) ? providers[own] : undefined;
    if (provider?.api !== name) return gate.refused("no_such_provider", worker);
    try {
      if (!(await isRunning(placeholder))) return gate.refused("unknown_placeholder", worker);
    } catch (thrown) {
      log.warn({ err: asBerthError(thrown) }, "it is not known whether a job runs");
      return gate.refused("key_unavailable", worker);
    }
    const url = tryJoin(provider, rest);
    if (url === undefined)
      return gate.refused("path_not_listed", worker, targetOf(new URL(provider.origin)));
    const { tenant, user } = placeholder;
    // In the shared pool a worker is of no tenant: its job is.
    return {
      worker: { ...worker, spec: { ...worker.spec, tenant, user } },
      placeholder,
      provider,
      url,
    };
  }

  async #open({ worker, placeholder }: Asked): Promise<string | Refused> {
    const { credentials, gate, log } = this.#parts;
    const { tenant, user, provider, job, attempt } = placeholder;
    try {
      const key = await credentials.open({ tenant, user, provider, purpose: job, attempt });
      return key ?? gate.refused("no_key", worker);
    } catch (thrown) {
      log.warn({ err: asBerthError(thrown), tenant, provider }, "a key could not be opened");
      return gate.refused("key_unavailable", worker);
    }
  }

  async #reach({ worker, url }: Asked, signal: AbortSignal): Promise<Admitted | Refused> {
    return await this.#parts.gate.reach(worker, targetOf(url), signal, "brokered");
  }

  /** Undefined when the host is not who it should be, or does not say so in time (B1). */
  #secure({ far, target }: Admitted): Promise<TLSSocket | undefined> {
    const { ca, clock } = this.#parts;
    const secured = tlsConnect({
      socket: far,
      servername: target.host,
      ALPNProtocols: ["http/1.1"],
      rejectUnauthorized: true,
      ...(ca === undefined ? {} : { ca }),
    });
    const cancel = clock.after(HANDSHAKE_WITHIN_MS, () => secured.destroy());
    secured.on("error", () => {});
    return new Promise((resolve) => {
      secured.once("secureConnect", () => resolve(secured));
      secured.once("close", () => resolve(undefined));
    }).then((socket) => {
      cancel();
      return socket as TLSSocket | undefined;
    });
  }
}

/** B1, B3. */
function withKey(headers: PassedHeaders, provider: BrokeredProvider, key: string): PassedHeaders {
  const rest = Object.entries(headers).filter(
    ([name]) => !(KEY_HEADERS as readonly string[]).includes(name),
  );
  const own =
    provider.header === "bearer" ? { authorization: `Bearer ${key}` } : { "x-api-key": key };
  return { ...Object.fromEntries(rest), ...own };
}

function placeholderIn(headers: IncomingHttpHeaders): string {
  const bearer = /^bearer +(\S+)$/i.exec(headers.authorization ?? "")?.[1];
  const named = headers["x-api-key"];
  return bearer ?? (typeof named === "string" ? named : "");
}

function splitOnce(text: string): [string, string] {
  const at = text.indexOf("/");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at)];
}

/** Undefined for what leads elsewhere than below the provider's path, however it is written. */
function tryJoin({ origin, path }: BrokeredProvider, rest: string): URL | undefined {
  if (!rest.startsWith("/") || !URL.canParse(`${origin}${rest}`)) return undefined;
  const url = new URL(`${origin}${rest}`);
  const isBelow = url.origin === new URL(origin).origin && url.pathname.startsWith(path);
  return isBelow && !/%2e|%2f|%5c|\/\.\.?(\/|$)/i.test(url.pathname) ? url : undefined;
}

const targetOf = ({ hostname, port }: URL) => ({
  host: hostname,
  port: port === "" ? HTTPS_PORT : Number(port),
});
