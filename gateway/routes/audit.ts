/** The audit trail: read by operators, and by a tenant's admin for its own tenant. */
import {
  auditExportQuerySchema,
  auditExportSchema,
  auditListQuerySchema,
  auditPageSchema,
} from "../../protocols/api-operators.ts";
import { readAuditExport, readAuditPage } from "../audit-pages.ts";
import { decideTenant, type Principal } from "../auth/principal.ts";
import { requireRoute } from "../auth/scopes.ts";
import type { Services } from "../services.ts";
import { type App, principalOf } from "./app.ts";
import { problems, tagged } from "./openapi.ts";

export function auditRoutes(app: App, { transport }: Services): void {
  const { audit: store } = transport;

  app.get(
    "/v1/audit",
    {
      schema: {
        ...tagged("operators", "listAudit", "List the audit trail, newest first"),
        querystring: auditListQuerySchema,
        response: { 200: auditPageSchema, ...problems },
      },
    },
    async (request) => {
      const { act, outcome, since, tenant: named, ...page } = request.query;
      const tenant = decideReader(principalOf(request), named);
      return await readAuditPage(store, { ...page, tenant }, { act, outcome, since });
    },
  );

  app.get(
    "/v1/audit/export",
    {
      config: { audit: { act: "audit.export", group: "audit", action: "read" } },
      schema: {
        ...tagged("operators", "exportAudit", "Export the audit trail, oldest first, to verify it"),
        querystring: auditExportQuerySchema,
        response: { 200: auditExportSchema, ...problems },
      },
    },
    async (request) => {
      const { tenant: named, ...page } = request.query;
      const tenant = decideReader(principalOf(request), named);
      const found = await readAuditExport(store, { ...page, tenant });
      return { ...found, retention_ms: await store.retentionMs() };
    },
  );
}

function decideReader(principal: Principal, named: string | undefined): string | undefined {
  requireRoute(principal, "audit", "read");
  return decideTenant(principal, named);
}
