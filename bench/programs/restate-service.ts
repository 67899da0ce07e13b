/** The counter as a virtual object of Restate, in a process of its own. */
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { createEndpointHandler, type ObjectContext, object } from "@restatedev/restate-sdk";
import { runProgram } from "./program.ts";

/** The SDK uses it; Node has it from 22 on. */
function withResolvers() {
  const parts: Record<string, unknown> = {};
  parts["promise"] = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
}
if (!("withResolvers" in Promise)) Object.assign(Promise, { withResolvers });

interface State {
  readonly total: number;
  readonly last: string;
}

const counter = object({
  name: "counter",
  handlers: {
    count: async (ctx: ObjectContext<State>, { text }: { readonly text: string }) => {
      const total = ((await ctx.get("total")) ?? 0) + 1;
      ctx.set("total", total);
      ctx.set("last", text);
      return { total };
    },
  },
});

await runProgram(async () => {
  const server = createServer(createEndpointHandler({ services: [counter], logger: () => {} }));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    ready: { port },
    stop: () => {
      server.close();
      return Promise.resolve();
    },
  };
});
