/**
 * Runs a job and prints what it says. With `npm start` up, and one of the keys in `.berth/dev.json`:
 * `BERTH_KEY=... npx tsx examples/02-client/main.ts`. Your own program imports from "berth/client".
 */
import { BerthClient } from "../../gateway/client.ts";

const berth = new BerthClient({
  url: process.env["BERTH_URL"] ?? "http://127.0.0.1:8000",
  key: process.env["BERTH_KEY"] ?? "",
});

const events = berth.run({
  agent: "shell",
  prompt: "echo building; sleep 1; echo done",
});

// Comes back by itself after any disconnect, without a gap and without a double.
for await (const event of events) {
  if (event.type === "agent.output") process.stdout.write(String(event.data["text"]));
  else console.log(`#${event.seq} ${event.type}`);
}
