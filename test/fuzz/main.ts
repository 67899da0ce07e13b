/** `npm run fuzz -- --seconds N --seed N`: prints how many cases there were, and the first that broke something. */
import { parseArgs } from "node:util";
import { describeReport, runFuzz } from "./run.ts";

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "60" }, seed: { type: "string" } },
});
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
const report = await runFuzz({ seed, seconds: Number(values.seconds) });
process.stdout.write(`${describeReport(report)}\n`);
if (report.failure !== undefined) {
  process.stdout.write(`${report.failure}\nsee it again: npm run fuzz -- --seed ${seed}\n`);
  process.exitCode = 1;
}
