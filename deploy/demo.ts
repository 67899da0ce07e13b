/** The first job: shows a new user in a second that everything works, through the same API that they will use. */
import { BerthClient } from "../gateway/client.ts";
import type { SessionEvent } from "../protocols/events.ts";
import type { Clock } from "../runtime/clock.ts";

const SCRIPT = [
  'echo "Hello from a warm worker. I am process $$ in $(basename "$PWD")."',
  'for i in 1 2 3; do echo "line $i"; sleep 0.2; done',
].join("\n");
const PATIENCE_MS = 60_000;

/** Prints the job's events as they come. A job that fails is told, and does not stop the start. */
export async function runDemo(parts: {
  readonly url: string;
  readonly key: string;
  readonly print: (line: string) => void;
  readonly clock: Clock;
}): Promise<void> {
  const { print, clock } = parts;
  const client = new BerthClient({ url: parts.url, key: parts.key });
  const late = new AbortController();
  const cancel = clock.after(PATIENCE_MS, () => late.abort());
  print("running a first job");
  try {
    for await (const event of client.run(
      { agent: "shell", prompt: SCRIPT },
      { signal: late.signal },
    )) {
      for (const line of describe(event)) print(`  ${line}`);
    }
  } catch (thrown) {
    print(
      `  the first job could not be followed: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
    );
  } finally {
    cancel();
  }
}

function describe({ seq, type, data }: SessionEvent): string[] {
  const head = `${String(seq).padStart(3)} ${type}`;
  const text = type === "agent.output" ? data["text"] : undefined;
  if (typeof text === "string")
    return text
      .trimEnd()
      .split("\n")
      .map((line) => `${head}  ${line}`);
  if (type === "job.failed" || type === "job.interrupted")
    return [`${head}  ${JSON.stringify(data)}`];
  return [head];
}
