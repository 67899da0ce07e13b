/** A user's own provider keys: written, told about and removed, but never read back. And the vault's keys, for operators. */
import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { formatTime } from "../../protocols/api.ts";
import {
  type Credential,
  credentialPageSchema,
  credentialParamsSchema,
  credentialSchema,
  putCredentialSchema,
  rotateVaultSchema,
  vaultRotationSchema,
  vaultStateSchema,
} from "../../protocols/api-credentials.ts";
import { type CredentialFacts, environmentNames } from "../../protocols/credentials.ts";
import { BerthError } from "../../protocols/errors.ts";
import { requireTenant, type TenantPrincipal } from "../auth/principal.ts";
import { requireRoute } from "../auth/scopes.ts";
import type { Services } from "../services.ts";
import { VaultClient } from "../vault.ts";
import { type App, principalOf } from "./app.ts";
import { problems, tagged } from "./openapi.ts";

/** A value of the most characters that are allowed, each escaped. */
const BODY_BYTES = 128 * 1024;

export function credentialRoutes(app: App, { clock, transport, tuning }: Services): void {
  const { bus } = transport;
  const vault = new VaultClient({ bus, clock, timeoutMs: tuning.askTimeoutMs });

  app.get(
    "/v1/credentials",
    {
      schema: {
        ...tagged("account", "listCredentials", "The caller's provider keys, without their values"),
        response: { 200: credentialPageSchema, ...problems },
      },
    },
    async (request) => {
      const credentials = await vault.list(ownerOf(request, "read"));
      return { data: credentials.map(credentialView), next: null };
    },
  );

  app.get(
    "/v1/credentials/:provider",
    {
      schema: {
        ...tagged("account", "getCredential", "One of them, without its value"),
        params: credentialParamsSchema,
        response: { 200: credentialSchema, ...problems },
      },
    },
    async (request) => {
      const credentials = await vault.list(ownerOf(request, "read"));
      const found = credentials.find(({ provider }) => provider === request.params.provider);
      if (found) return credentialView(found);
      throw new BerthError("credential.not_found");
    },
  );

  app.put(
    "/v1/credentials/:provider",
    {
      bodyLimit: BODY_BYTES,
      config: { secretBody: true, audit: { act: "credential.put", group: "credentials" } },
      schema: {
        ...tagged("account", "putCredential", "Store the caller's key of a provider"),
        params: credentialParamsSchema,
        body: putCredentialSchema,
        response: { 200: credentialSchema, 201: credentialSchema, ...problems },
      },
    },
    async (request, reply) => {
      const owner = ownerOf(request, "write");
      const { provider } = request.params;
      const { credential, is_new } = await vault.put(owner, provider, request.body.value);
      return reply.code(is_new ? 201 : 200).send(credentialView(credential));
    },
  );

  app.delete(
    "/v1/credentials/:provider",
    {
      config: { audit: { act: "credential.remove", group: "credentials" } },
      schema: {
        ...tagged("account", "removeCredential", "Remove the caller's key of a provider"),
        params: credentialParamsSchema,
        response: { 204: z.undefined().describe("Removed"), ...problems },
      },
    },
    async (request, reply) => {
      await vault.remove(ownerOf(request, "write"), request.params.provider);
      return reply.code(204).send();
    },
  );

  app.get(
    "/v1/vault",
    {
      schema: {
        ...tagged("operators", "getVault", "The vault's keys, and what is sealed under each"),
        response: { 200: vaultStateSchema, ...problems },
      },
    },
    async (request) => {
      requireRoute(principalOf(request), "vault", "read");
      return await vault.status();
    },
  );

  app.post(
    "/v1/vault/rotate",
    {
      config: { audit: { act: "vault.rotate", group: "vault" } },
      schema: {
        ...tagged("operators", "rotateVault", "Wrap the next credentials with the current key"),
        body: rotateVaultSchema,
        response: { 200: vaultRotationSchema, ...problems },
      },
    },
    async (request) => {
      requireRoute(principalOf(request), "vault", "write");
      return await vault.rotate(request.body.after);
    },
  );
}

function ownerOf(request: FastifyRequest, action: "read" | "write"): TenantPrincipal {
  const principal = principalOf(request);
  requireRoute(principal, "credentials", action);
  return requireTenant(principal);
}

function credentialView(facts: CredentialFacts): Credential {
  return {
    provider: facts.provider,
    environment: [...environmentNames(facts.provider)],
    hint: facts.hint,
    created_at: formatTime(facts.created_at),
    updated_at: formatTime(facts.updated_at),
    used_at: facts.used_at === null ? null : formatTime(facts.used_at),
  };
}
