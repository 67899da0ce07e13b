/** `npm run soak -- --minutes 10 --seed N`. */
import { parseArgs } from "node:util";
import { sharedAbort } from "../../runtime/shared-abort.ts";
import { soak } from "./run.ts";

const MINUTE_MS = 60_000;
const say = (line: string) => process.stdout.write(`${line}\n`);

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "10" }, seed: { type: "string", default: "1" } },
});
const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
if (!(minutes > 0) || !Number.isInteger(seed)) {
  say("npm run soak -- --minutes N --seed N: minutes above 0, a whole number as seed");
  process.exit(2);
}
const interrupted = sharedAbort();
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.on(signal, () => interrupted.abort(new Error("interrupted")));
const report = await soak({ seed, forMs: minutes * MINUTE_MS, say, signal: interrupted.signal });
say(JSON.stringify(report, null, 2));
say(report.broken.length === 0 ? "nothing was lost, doubled or left behind" : "BROKEN");
process.exit(report.broken.length === 0 ? 0 : 1);
