/** `/livez` and `/readyz` for whoever runs the container; `/health` and `/ready` are their older names. */
import { createServer, type Server } from "node:http";

export class Health {
  /** Asked at each probe. Nobody is ready before somebody says how it is seen. */
  isReady: () => boolean = () => false;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      const status = this.#statusOf(request.url ?? "");
      response
        .writeHead(status, { "content-type": "text/plain" })
        .end(status === 200 ? "ok\n" : "no\n");
    });
  }

  /** Resolves once it listens. */
  static async open(port: number): Promise<Health> {
    const health = new Health();
    await new Promise<void>((resolve, reject) => {
      health.#server.once("error", reject).listen(port, resolve);
    });
    return health;
  }

  close(): void {
    this.#server.close();
  }

  #statusOf(url: string): number {
    switch (url.split("?")[0]) {
      case "/livez":
      case "/health":
        return 200;
      case "/readyz":
      case "/ready":
        return this.isReady() ? 200 : 503;
      default:
        return 404;
    }
  }
}
