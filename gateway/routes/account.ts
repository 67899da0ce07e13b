/** What a caller may know of itself: who it is, what it may do and with which agents, what it used. */

import { User } from "../../protocols/actors/user.ts";
import {
  agentPageSchema,
  identitySchema,
  limitsSchema,
  usageReportSchema,
} from "../../protocols/api.ts";
import { rateHeaders } from "../rate-headers.ts";
import type { Services } from "../services.ts";
import { limitsView, usageView } from "../views.ts";
import { type App, callerOf, principalOf } from "./app.ts";
import { problems, tagged } from "./openapi.ts";

export function accountRoutes(app: App, services: Services): void {
  const { client, clock, tiers, tuning } = services;
  const options = { timeoutMs: tuning.askTimeoutMs };

  app.get(
    "/v1/me",
    {
      schema: {
        ...tagged("account", "getIdentity", "Who the credential belongs to"),
        response: { 200: identitySchema, ...problems },
      },
    },
    async (request) => {
      const principal = principalOf(request);
      const tenant = await services.access.tenantOf(principal);
      const { user, scope } = principal;
      return { tenant: principal.tenant, user, scope, tier: tenant?.tier ?? null };
    },
  );

  app.get(
    "/v1/agents",
    {
      schema: {
        ...tagged("account", "listAgents", "Agents that jobs may name"),
        response: { 200: agentPageSchema, ...problems },
      },
    },
    () => ({ data: services.config.agents.map((id) => ({ id })), next: null }),
  );

  app.get(
    "/v1/limits",
    {
      schema: {
        ...tagged("account", "getLimits", "Limits of the user, and what remains"),
        response: { 200: limitsSchema, ...problems },
      },
    },
    async (request, reply) => {
      const { principal, tier } = await callerOf(services, principalOf(request));
      const user = client.actor(User, principal.tenant, principal.user);
      const { limits } = await user.limits({ tier }, options);
      reply.headers(rateHeaders(limits));
      return limitsView(limits, tiers, clock.now());
    },
  );

  app.get(
    "/v1/usage",
    {
      schema: {
        ...tagged("account", "getUsage", "What the user's jobs used"),
        response: { 200: usageReportSchema, ...problems },
      },
    },
    async (request) => {
      const { principal } = await callerOf(services, principalOf(request));
      const user = client.actor(User, principal.tenant, principal.user);
      return usageView((await user.usage({}, options)).usage);
    },
  );
}
