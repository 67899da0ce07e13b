/** Which methods a path takes: for 405, `Allow` and OPTIONS. */
import type { FastifyRequest } from "fastify";
import type { App } from "./app.ts";

const METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE"] as const;

declare module "fastify" {
  interface FastifyInstance {
    /** Every route's method and path. */
    routeTable: { readonly method: string; readonly segments: readonly string[] }[];
  }
}

/** Routes that are added from now on are in the table. */
export function keepRouteTable(app: App): void {
  app.decorate("routeTable", []);
  app.addHook("onRoute", (route) => {
    for (const method of [route.method].flat()) {
      app.routeTable.push({ method, segments: route.url.split("/") });
    }
  });
}

/** The methods of the request's path as `Allow` names them; undefined when there is no such path. */
export function allowedMethods(app: App, request: FastifyRequest): string | undefined {
  const segments = (request.url.split("?")[0] ?? "").split("/");
  const methods = METHODS.filter((method) => takes(app, method, segments));
  return methods.length === 0 ? undefined : [...methods, "OPTIONS"].join(", ");
}

function takes(app: App, method: string, segments: readonly string[]): boolean {
  return app.routeTable.some((route) => route.method === method && fits(route.segments, segments));
}

/** Pure. A last `*` stands for all that follows. */
export function fits(route: readonly string[], segments: readonly string[]): boolean {
  const isOpen = route.at(-1) === "*";
  const fixed = isOpen ? route.slice(0, -1) : route;
  if (isOpen ? segments.length < route.length : segments.length !== route.length) return false;
  return fixed.every((part, i) => part.startsWith(":") || part === segments[i]);
}
