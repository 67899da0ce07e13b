/** The HTTP API of the vault: users' own provider keys, whose values go in and never out; and its keys, for operators. */
import { z } from "zod";
import { pageOf, timeSchema } from "./api.ts";
import { credentialValueSchema, providerSchema, VAULT_VERBS } from "./credentials.ts";

export const putCredentialSchema = z
  .strictObject({ value: credentialValueSchema })
  .meta({ id: "PutCredential" });

export const credentialSchema = z
  .object({
    provider: z.string(),
    /** The variables in which an agent finds it. */
    environment: z.array(z.string()),
    /** The value's last characters; null when it is too short to spare them. */
    hint: z.string().nullable(),
    created_at: timeSchema,
    updated_at: timeSchema,
    /** To about a minute. */
    used_at: timeSchema.nullable(),
  })
  .meta({ id: "Credential" });
export type Credential = z.infer<typeof credentialSchema>;

/** There are few: one page holds them all. */
export const credentialPageSchema = pageOf(credentialSchema).meta({ id: "CredentialPage" });
export const credentialParamsSchema = z.strictObject({ provider: providerSchema });

export const vaultStateSchema = VAULT_VERBS.status.output.meta({ id: "VaultState" });
export const rotateVaultSchema = z
  .strictObject({ after: z.string().max(256).nullable().default(null) })
  .meta({ id: "RotateVault" });
export const vaultRotationSchema = VAULT_VERBS.rotate.output.meta({ id: "VaultRotation" });
