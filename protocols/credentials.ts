/**
 * Users' keys of model providers: their names, what an agent's process calls them, and the wire between gateways and
 * the vault (`berth.vault.<verb>`, msgpack). A value is on no wire and in no record but sealed.
 */
import { z } from "zod";
import { idSchema } from "./ids.ts";
import { tool, wireErrorSchema } from "./protocol.ts";

export const providerSchema = z
  .string()
  .regex(
    /^[a-z](?:[a-z0-9_-]{0,30}[a-z0-9])?$/,
    "1 to 32 small letters, digits, '-' or '_', starting with a letter",
  );

export const MAX_CREDENTIALS = 32;
/** That one job may name. */
export const MAX_JOB_CREDENTIALS = 8;
export const MAX_CREDENTIAL_CHARS = 16 * 1024;

/** It becomes an environment variable, and in front of a provider a header: one line, nothing around it. */
export const credentialValueSchema = z
  .string()
  .min(1)
  .max(MAX_CREDENTIAL_CHARS)
  .regex(/^\P{C}+$/u, "control characters and line breaks are not allowed")
  .refine((value) => value.trim() === value, "it begins or ends with a space");

const ENVIRONMENT: Readonly<Record<string, readonly string[]>> = {
  claude_oauth: ["CLAUDE_CODE_OAUTH_TOKEN"],
  claude_api: ["CLAUDE_API_KEY", "ANTHROPIC_API_KEY"],
  codex: ["CODEX_ACCESS_TOKEN"],
  openai: ["OPENAI_API_KEY"],
  gemini: ["GEMINI_API_KEY"],
  deepseek: ["DEEPSEEK_API_KEY"],
};

/** The variables in which an agent looks for the provider's key. */
export function environmentNames(provider: string): readonly string[] {
  if (Object.hasOwn(ENVIRONMENT, provider)) return ENVIRONMENT[provider] ?? [];
  return [`${provider.replaceAll("-", "_").toUpperCase()}_API_KEY`];
}

/** Providers whose key an agent can work with, the one it is given first: it needs one alone. */
const AGENT_PROVIDERS: Readonly<Record<string, readonly string[]>> = {
  claude: ["claude_oauth", "claude_api"],
  codex: ["codex", "openai"],
  gemini: ["gemini"],
};

export function providersOf(agent: string): readonly string[] {
  return Object.hasOwn(AGENT_PROVIDERS, agent) ? (AGENT_PROVIDERS[agent] ?? []) : [];
}

/** Under `<tenant>.<user>.<provider>`. A key of its own seals the value, a key of the vault wraps that one; both are bound to the place and `version`. */
export const credentialRecordSchema = z.object({
  provider: z.string(),
  /** Grows with every value. */
  version: z.number().int().positive(),
  /** Names the vault's key. */
  kek: z.string(),
  /** Base64. */
  wrapped: z.string(),
  sealed: z.string(),
  /** The value's last characters, when it is long enough to spare them. */
  hint: z.string().nullable(),
  created_at: z.number(),
  updated_at: z.number(),
  /** To about a minute. */
  used_at: z.number().nullable(),
});
export type CredentialRecord = z.infer<typeof credentialRecordSchema>;

/** What may be told of a credential. */
export const credentialFactsSchema = credentialRecordSchema.pick({
  provider: true,
  hint: true,
  created_at: true,
  updated_at: true,
  used_at: true,
});
export type CredentialFacts = z.infer<typeof credentialFactsSchema>;

const owner = { tenant: idSchema, user: idSchema };
const named = { ...owner, provider: providerSchema };

const vaultStateSchema = {
  /** The vault's keys at the node that answered, the current one first. */
  keys: z.array(z.object({ id: z.string(), credentials: z.number() })),
  /** Sealed under keys that this node does not have. */
  unreadable: z.number(),
};

export const VAULT_VERBS = {
  /** The public key that values are sealed to on their way to the vault. */
  key: tool("vault.key", {}, { kek: z.string(), public_key: z.string() }),
  put: tool(
    "vault.put",
    { ...named, kek: z.string(), letter: z.string().max(4 * MAX_CREDENTIAL_CHARS) },
    { credential: credentialFactsSchema, is_new: z.boolean() },
  ),
  list: tool("vault.list", owner, { credentials: z.array(credentialFactsSchema) }),
  remove: tool("vault.remove", named, {}),
  status: tool("vault.status", {}, vaultStateSchema),
  /** Wraps the next credentials anew with the current key. */
  rotate: tool(
    "vault.rotate",
    { after: z.string().nullable() },
    {
      kek: z.string(),
      rotated: z.number(),
      /** Were under the current key already, or are gone. */
      unchanged: z.number(),
      unreadable: z.number(),
      /** Pass it as `after` to go on; null at the end. */
      next: z.string().nullable(),
    },
  ),
} as const;
export type VaultVerb = keyof typeof VAULT_VERBS;
export type VaultInput<V extends VaultVerb> = z.output<(typeof VAULT_VERBS)[V]["input"]>;
export type VaultOutput<V extends VaultVerb> = z.output<(typeof VAULT_VERBS)[V]["output"]>;

/** Beside the input in each request. */
export const vaultDeadlineSchema = z.object({
  /** Ms since the epoch: from then on nobody waits for an answer, and nothing is done. Older gateways name none. */
  deadline: z.number().optional(),
});

export const vaultReplySchema = z.union([
  z.object({ ok: z.literal(true), output: z.record(z.string(), z.unknown()) }),
  z.object({ ok: z.literal(false), error: wireErrorSchema }),
]);
export type VaultReply = z.infer<typeof vaultReplySchema>;

/** What a letter to the vault is bound to. */
export function letterBinding(put: {
  readonly tenant: string;
  readonly user: string;
  readonly provider: string;
  readonly kek: string;
}): readonly string[] {
  return ["berth.vault.put", put.tenant, put.user, put.provider, put.kek];
}
