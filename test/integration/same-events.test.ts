/** One job seen by every kind of reader: curl (JSON and SSE), wscat, the command line, the client library. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BerthClient } from "../../gateway/client.ts";
import type { SessionEvent } from "../../protocols/events.ts";
import { startBerth, type TestBerth } from "../support/berth.ts";
import { startCommand } from "../support/berth-command.ts";

const WSCAT = fileURLToPath(
  new URL("../../.berth/cache/agents/node_modules/.bin/wscat", import.meta.url),
);
const CURL = "/usr/bin/curl";

let berth: TestBerth;
beforeAll(async () => {
  berth = await startBerth();
});
afterAll(() => berth.stop());

/** Runs a program to its end and gives what it printed. */
async function output(program: string, args: readonly string[]): Promise<string> {
  // Standard input stays open: wscat takes its end for a person who leaves.
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  return text;
}

const dataLines = (stream: string): SessionEvent[] =>
  stream
    .split("\n")
    .filter((line) => line.startsWith("data: "))
    .map((line) => JSON.parse(line.slice("data: ".length)) as SessionEvent);

const eventFrames = (printed: string): SessionEvent[] =>
  printed
    .split("\n")
    .map((line) => line.slice(line.indexOf("{")))
    .filter((line) => line.includes('"type":"event"'))
    .map((line) => (JSON.parse(line) as { event: SessionEvent }).event);

describe("a shell job", () => {
  test.skipIf(!existsSync(WSCAT) || !existsSync(CURL))(
    "is the same events for curl, an SSE reader, wscat, the command line and the client library",
    async () => {
      const { url, keys } = berth;
      const client = new BerthClient({ url, key: keys.pro });
      const ours: SessionEvent[] = [];
      const script = "echo one; echo two >&2; sleep 0.2; echo three";
      for await (const event of client.run({ agent: "shell", prompt: script })) ours.push(event);
      const session = String(ours[0]?.session_id);
      const auth = ["-H", `Authorization: Bearer ${keys.pro}`];
      const events = `${url}/v1/sessions/${session}/events?after=0`;

      const page = await output(CURL, ["-s", ...auth, "-H", "Accept: application/json", events]);
      const sse = await output(CURL, [
        "-sN",
        ...["--max-time", "3"],
        ...auth,
        ...["-H", "Accept: text/event-stream"],
        events,
      ]);
      const subscribe = JSON.stringify({ type: "subscribe", session_id: session, after: 0 });
      const socket = await output(WSCAT, [
        ...["-c", `${url.replace("http", "ws")}/v1/stream`],
        ...auth,
        ...["-x", subscribe, "-w", "3"],
      ]);
      await using command = startCommand(["logs", session, "--json"], { url, key: keys.pro });
      await command.done();
      const logged = command
        .out()
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as SessionEvent);

      expect(ours.at(-1)?.type).toBe("job.succeeded");
      expect(ours.map(({ seq }) => seq)).toEqual(ours.map((_, i) => i + 1));
      expect((JSON.parse(page) as { data: SessionEvent[] }).data).toEqual(ours);
      expect(dataLines(sse)).toEqual(ours);
      expect(eventFrames(socket)).toEqual(ours);
      expect(logged).toEqual(ours);
    },
  );
});
