/** `berth up` in a process of its own: broker, node, workers and gateway, as on a developer's machine. */
import { Writable } from "node:stream";
import { loadConfig } from "../../deploy/config.ts";
import { startUp } from "../../deploy/up.ts";
import { runProgram } from "./program.ts";

/** Log lines are made as always, and read by nobody. */
const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });

await runProgram(async ({ env }: { readonly env: Record<string, string> }) => {
  const config = loadConfig({ PATH: process.env["PATH"], ...env });
  const running = await startUp(config, { demo: false, print: () => {}, logTo: nowhere });
  return { stop: () => running.stop() };
});
