/**
 * Providers whose keys can be brokered: an agent gets a placeholder and an address of its node's in the place of the
 * provider's own, and the node puts the key in on the way.
 */

export interface BrokeredProvider {
  /** Of its API, in the address that an agent is given: the same for all keys of one API. */
  readonly api: string;
  /** The provider's own host. */
  readonly origin: string;
  /** What is asked of it begins so; nothing else of the host is reached with the key. */
  readonly path: string;
  /** Where the provider looks for the key. */
  readonly header: "x-api-key" | "bearer";
  /** Where an agent looks for the provider's address, and what it expects at its end. */
  readonly addressVariable: string;
  readonly addressPath: string;
}

const ANTHROPIC = {
  api: "anthropic",
  origin: "https://api.anthropic.com",
  path: "/v1/",
  addressVariable: "ANTHROPIC_BASE_URL",
  addressPath: "",
} as const;

export const BROKERED_PROVIDERS: Readonly<Record<string, BrokeredProvider>> = {
  claude_api: { ...ANTHROPIC, header: "x-api-key" },
  claude_oauth: { ...ANTHROPIC, header: "bearer" },
  openai: {
    api: "openai",
    origin: "https://api.openai.com",
    path: "/v1/",
    header: "bearer",
    addressVariable: "OPENAI_BASE_URL",
    addressPath: "/v1",
  },
};

/** Where the proxy takes requests for the broker: `/broker/<api>/...`. */
export const BROKER_PATH = "/broker/";
