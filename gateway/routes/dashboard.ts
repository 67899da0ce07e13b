/** The dashboard's static files, under `/dashboard/`. */
import staticFiles from "@fastify/static";
import type { App } from "./app.ts";

export async function registerDashboard(app: App, directory: string): Promise<void> {
  await app.register(staticFiles, {
    root: directory,
    prefix: "/dashboard/",
    index: ["index.html"],
    cacheControl: false,
    schemaHide: true,
  });
  const hidden = { schema: { hide: true } } as const;
  for (const path of ["/", "/dashboard"]) {
    app.get(path, hidden, (_request, reply) => reply.redirect("/dashboard/"));
  }
}
