/** Tenants and their API keys, for operators. */
import { randomBytes } from "node:crypto";
import type { FastifyRequest } from "fastify";
import { ulid } from "ulid";
import { z } from "zod";
import { SUPERVISOR_KEY, Supervisor } from "../../protocols/actors/supervisor.ts";
import { pageQuerySchema } from "../../protocols/api.ts";
import {
  cleanedKeysSchema,
  createdKeySchema,
  createKeySchema,
  keyPageSchema,
  keyParamsSchema,
  putTenantSchema,
  tenantPageSchema,
  tenantParamsSchema,
  tenantSchema,
} from "../../protocols/api-operators.ts";
import { BerthError } from "../../protocols/errors.ts";
import {
  type ApiKeyRecord,
  apiKeyRecordSchema,
  tenantRecordSchema,
} from "../../protocols/records.ts";
import { decideKey, hashKey } from "../auth/access.ts";
import type { Principal } from "../auth/principal.ts";
import { type RouteAction, reachesTenant, requireRoute } from "../auth/scopes.ts";
import { paginate, readAll } from "../listing.ts";
import type { Services } from "../services.ts";
import { keyView, tenantView } from "../views.ts";
import { type App, principalOf } from "./app.ts";
import { problems, tagged } from "./openapi.ts";

const KEY_BYTES = 32;
const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

function putTenantAct({ body }: FastifyRequest) {
  const { suspended, tier } = body as z.infer<typeof putTenantSchema>;
  return {
    act: suspended ? "tenant.suspend" : "tenant.put",
    group: "tenants",
    detail: { tier },
  } as const;
}

function createKeyAct(request: FastifyRequest) {
  const { scope, user } = request.body as z.infer<typeof createKeySchema>;
  const detail = { key: keyIdOf(request), scope, user };
  return { act: "key.create", group: "keys", detail } as const;
}

/** The same one for the trail and for the key, and when the request is repeated. */
function keyIdOf(request: FastifyRequest): string {
  request.seed ??= request.reservation?.seed ?? ulid();
  return `key_${request.seed}`;
}

export function tenantRoutes(app: App, services: Services): void {
  const { client, transport, tuning } = services;
  const { buckets } = transport;

  app.get(
    "/v1/tenants",
    {
      schema: {
        ...tagged("operators", "listTenants", "List tenants"),
        querystring: pageQuerySchema,
        response: { 200: tenantPageSchema, ...problems },
      },
    },
    async (request) => {
      requireRoute(principalOf(request), "tenants", "read");
      const all = await readAll(buckets, "tenants", tenantRecordSchema);
      const { data, next } = paginate(
        all.map(({ value }) => value),
        request.query,
      );
      return { data: data.map(tenantView), next };
    },
  );

  app.get(
    "/v1/tenants/:id",
    {
      schema: {
        ...tagged("operators", "getTenant", "Get a tenant"),
        params: tenantParamsSchema,
        response: { 200: tenantSchema, ...problems },
      },
    },
    async (request) => {
      requireRoute(principalOf(request), "tenants", "read");
      return tenantView(await tenantOf(services, request.params.id));
    },
  );

  app.put(
    "/v1/tenants/:id",
    {
      config: { audit: putTenantAct },
      schema: {
        ...tagged("operators", "putTenant", "Put a tenant"),
        params: tenantParamsSchema,
        body: putTenantSchema,
        response: { 200: tenantSchema, ...problems },
      },
    },
    async (request) => {
      requireRoute(principalOf(request), "tenants", "write");
      const supervisor = client.actor(Supervisor, request.params.id, SUPERVISOR_KEY);
      const options = { timeoutMs: tuning.askTimeoutMs };
      const { tenant } = await supervisor.configure({ tenant: request.body }, options);
      return tenantView(tenant);
    },
  );

  app.get(
    "/v1/tenants/:id/keys",
    {
      schema: {
        ...tagged("operators", "listKeys", "List keys"),
        params: tenantParamsSchema,
        querystring: pageQuerySchema,
        response: { 200: keyPageSchema, ...problems },
      },
    },
    async (request) => {
      requireKeys(principalOf(request), request.params.id, "read");
      const tenant = await tenantOf(services, request.params.id);
      const found = await keysOf(services, tenant.id);
      const { data, next } = paginate(
        found.map(({ value }) => value),
        request.query,
      );
      return { data: data.map(keyView), next };
    },
  );

  app.post(
    "/v1/tenants/:id/keys",
    {
      config: { audit: createKeyAct, secretAnswer: true },
      schema: {
        ...tagged("operators", "createKey", "Create a key; it is shown this once"),
        params: tenantParamsSchema,
        body: createKeySchema,
        response: { 201: createdKeySchema, ...problems },
      },
    },
    async (request, reply) => {
      requireKeys(principalOf(request), request.params.id, "write");
      const tenant = await tenantOf(services, request.params.id);
      const { name, user, scope, expires_at } = request.body;
      const record: ApiKeyRecord = {
        id: keyIdOf(request),
        name,
        tenant: tenant.id,
        user,
        scope,
        created_at: services.clock.now(),
        expires_at: expires_at === undefined ? null : Date.parse(expires_at),
        revoked: false,
      };
      const key = `berth_${randomBytes(KEY_BYTES).toString("base64url")}`;
      await buckets.put("keys", hashKey(key), encode(record), { expected: 0 });
      return reply.code(201).send({ ...keyView(record), key });
    },
  );

  app.delete(
    "/v1/tenants/:id/keys",
    {
      config: { audit: { act: "key.clean", group: "keys" } },
      schema: {
        ...tagged("operators", "cleanKeys", "Remove keys that were revoked or have expired"),
        params: tenantParamsSchema,
        response: { 200: cleanedKeysSchema, ...problems },
      },
    },
    async (request) => {
      requireKeys(principalOf(request), request.params.id, "write");
      const now = services.clock.now();
      const all = await keysOf(services, request.params.id);
      const over = all.filter(({ value }) => decideKey(value, now) !== undefined);
      for (const { key } of over) await buckets.remove("keys", key);
      return { removed: over.length };
    },
  );

  app.delete(
    "/v1/tenants/:id/keys/:key_id",
    {
      config: { audit: { act: "key.revoke", group: "keys" } },
      schema: {
        ...tagged("operators", "revokeKey", "Revoke a key"),
        params: keyParamsSchema,
        response: { 204: z.undefined().describe("Revoked"), ...problems },
      },
    },
    async (request, reply) => {
      requireKeys(principalOf(request), request.params.id, "write");
      const { id, key_id } = request.params;
      const found = (await keysOf(services, id)).find(({ value }) => value.id === key_id);
      if (!found) throw new BerthError("request.not_found", "the tenant has no such key");
      await buckets.put("keys", found.key, encode({ ...found.value, revoked: true }));
      return reply.code(204).send();
    },
  );
}

/** Another tenant's keys do not exist for who may not reach them. */
function requireKeys(principal: Principal, tenant: string, action: RouteAction): void {
  requireRoute(principal, "keys", action);
  if (!reachesTenant(principal, "keys", action, tenant)) throw new BerthError("tenant.not_found");
}

async function tenantOf({ access }: Services, id: string) {
  const tenant = await access.tenant(id);
  if (tenant) return tenant;
  throw new BerthError("tenant.not_found");
}

async function keysOf({ transport }: Services, tenant: string) {
  const all = await readAll(transport.buckets, "keys", apiKeyRecordSchema);
  return all.filter(({ value }) => value.tenant === tenant);
}
