/** `/livez` and `/readyz` for whoever runs the container; `/health` and `/ready` are their older names. */
import { createServer, type Server } from "node:http";

/** Resolves once it listens. */
export function startHealth(port: number, isReady: () => boolean): Promise<Server> {
  const server = createServer((request, response) => {
    const status = statusOf(request.url ?? "", isReady);
    response
      .writeHead(status, { "content-type": "text/plain" })
      .end(status === 200 ? "ok\n" : "no\n");
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, () => resolve(server));
  });
}

function statusOf(url: string, isReady: () => boolean): number {
  switch (url.split("?")[0]) {
    case "/livez":
    case "/health":
      return 200;
    case "/readyz":
    case "/ready":
      return isReady() ? 200 : 503;
    default:
      return 404;
  }
}
