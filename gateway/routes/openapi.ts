/** The OpenAPI 3.1 document, made from the schemas that validate, and the small parts that routes share. */
import swagger from "@fastify/swagger";
import { jsonSchemaTransform, jsonSchemaTransformObject } from "fastify-type-provider-zod";
import { problemSchema } from "../../protocols/api.ts";
import type { App } from "./app.ts";

const TAGS = {
  jobs: "A prompt or script for one agent, on behalf of one user, in a session",
  sessions: "A conversation with one agent: its jobs and its durable log of events",
  events: "The log of a session, read by cursor: nothing missing, nothing double, in order",
  account: "The caller: identity, limits, usage",
  operators:
    "For operators: tenants, keys, workers, nodes, actors, queues, dead letters, the audit trail",
} as const;

/** The document's words on one operation. Its id names functions in generated clients: it stays. */
export function tagged(tag: keyof typeof TAGS, operationId: string, summary: string) {
  return { tags: [tag], operationId, summary };
}

/** Every answer that is not a success is a problem. */
export const problems = {
  default: {
    description: "A problem (RFC 9457)",
    content: { "application/problem+json": { schema: problemSchema } },
  },
} as const;

export async function registerOpenApi(app: App, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "Berth",
        version,
        description: "Runs AI agents for many tenants in warm, isolated workers.",
        license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      },
      servers: [{ url: "/" }],
      tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
      components: {
        securitySchemes: {
          bearer: { type: "http", scheme: "bearer", description: "An API key or a JWT" },
          apiKey: { type: "apiKey", in: "header", name: "X-API-Key" },
        },
      },
      security: [{ bearer: [] }, { apiKey: [] }],
    },
    transform: jsonSchemaTransform,
    transformObject: jsonSchemaTransformObject,
  });
}

export function openApiRoute(app: App): void {
  let document: string | undefined;
  app.get("/openapi.json", { schema: { hide: true } }, (_request, reply) => {
    document ??= JSON.stringify(withoutUnused(app.swagger()));
    return reply.header("content-type", "application/json; charset=utf-8").send(document);
  });
}

const REFERENCE = /"#\/components\/schemas\/([^"]+)"/g;

/** Each schema is written down as input and as output; the one that nothing refers to goes. */
function withoutUnused(document: object): object {
  const { components = {}, ...rest } = document as {
    components?: { schemas?: Record<string, unknown> };
  };
  const { schemas = {} } = components;
  const used = new Set<string>();
  const open = namesIn(rest);
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (used.has(name)) continue;
    used.add(name);
    open.push(...namesIn(schemas[name]));
  }
  const kept = Object.entries(schemas).filter(([name]) => used.has(name));
  return { ...rest, components: { ...components, schemas: Object.fromEntries(kept) } };
}

function namesIn(part: unknown): string[] {
  return [...(JSON.stringify(part) ?? "").matchAll(REFERENCE)].map(([, name = ""]) => name);
}
