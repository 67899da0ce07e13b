/** The peer's worker: gives each job's prompt back, as the `echo` agent does. */
import { Worker } from "bullmq";
import type { Address } from "../peers/server-process.ts";
import { runProgram } from "./program.ts";

interface Config {
  readonly connection: Address;
  readonly queue: string;
  readonly concurrency: number;
}

await runProgram(async ({ connection, queue, concurrency }: Config) => {
  const worker = new Worker<{ prompt: string }, string>(
    queue,
    (job) => Promise.resolve(`${job.data.prompt}\n`),
    { connection, concurrency },
  );
  await worker.waitUntilReady();
  return { stop: () => worker.close() };
});
