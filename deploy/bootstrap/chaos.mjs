/** `npm run chaos`: installs what is needed, then breaks real servers and processes under load, with the arguments given. */
import "./node-version.mjs";
import { runMain } from "./command.mjs";
import { ensureNatsServer } from "./nats.mjs";
import { fromRoot } from "./place.mjs";
import { prepare } from "./prepare.mjs";

await runMain(async () => {
  await prepare();
  await ensureNatsServer();
  // In this process, so that a Ctrl-C finds the one that has to clean up.
  await import("tsx");
  await import(fromRoot("test", "chaos", "main.ts"));
});
