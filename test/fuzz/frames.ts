/** Frames of the WebSocket: by their schema, nearly so, and whatever else a socket takes. */
import { once } from "node:events";
import * as fc from "fast-check";
import { WebSocket } from "ws";
import { z } from "zod";
import { CLOSE_CODES, clientFrameSchema, serverFrameSchema } from "../../protocols/frames.ts";
import { parse } from "./answers.ts";
import { CALLERS, CANARY, type Caller, type Stage } from "./stage.ts";
import { anyValue, hostileText, type Schema } from "./values.ts";

/** The protocol's own: message too big, text that is no UTF-8, a broken frame. */
const PROTOCOL_CODES = [1002, 1007, 1009];
const KNOWN_CODES: ReadonlySet<number> = new Set([
  ...Object.values(CLOSE_CODES),
  ...PROTOCOL_CODES,
]);
const WITHIN_MS = 10_000;

export interface Conversation {
  readonly caller: Caller;
  readonly frames: readonly (string | Uint8Array)[];
}

export function anyConversation(stage: Stage): fc.Arbitrary<Conversation> {
  const schema = z.toJSONSchema(clientFrameSchema, { io: "input" }) as Schema;
  const frame = anyValue(schema, {}).map((value) => JSON.stringify(value) ?? "undefined");
  const [job = ""] = stage.owned["/v1/jobs"] ?? [];
  const [session = ""] = stage.owned["/v1/sessions"] ?? [];
  const foreign = fc.constantFrom(
    { type: "subscribe", session_id: session, after: 0 },
    { type: "subscribe", session_id: session, tenant: "t-pro" },
    { type: "cancel", job_id: job },
    { type: "input", job_id: job, text: "x" },
    { type: "submit", ref: "r", job: { agent: "shell", prompt: "x", session_id: session } },
  );
  return fc.record({
    caller: fc.constantFrom(...CALLERS),
    frames: fc.array(
      fc.oneof(
        { weight: 5, arbitrary: frame },
        { weight: 2, arbitrary: foreign.map((value) => JSON.stringify(value)) },
        { weight: 1, arbitrary: hostileText },
        { weight: 1, arbitrary: fc.uint8Array({ maxLength: 40 }) },
      ),
      { maxLength: 8 },
    ),
  });
}

/** What is wrong with how the gateway took it; undefined when nothing is. */
export async function faultOfConversation(
  stage: Stage,
  { caller, frames }: Conversation,
): Promise<string | undefined> {
  const key = stage.keyOf(caller);
  const socket = new WebSocket(`${stage.url.replace("http", "ws")}/v1/stream`, {
    ...(key === undefined ? {} : { headers: { authorization: `Bearer ${key}` } }),
  });
  const texts: string[] = [];
  socket.on("message", (data: Buffer) => texts.push(data.toString()));
  const signal = AbortSignal.timeout(WITHIN_MS);
  const closed = once(socket, "close", { signal }) as Promise<[number]>;
  closed.catch(() => undefined);
  const isOpen = await once(socket, "open", { signal })
    .then(() => true)
    .catch(() => false);
  if (!isOpen) return caller === "wrong" ? undefined : "a good credential was refused";
  for (const frame of frames) socket.send(frame);
  socket.send(JSON.stringify({ type: "ping", ref: "last" }));
  const ponged = (async () => {
    while (!texts.some((text) => text.includes('"ref":"last"')))
      await once(socket, "message", { signal });
    return undefined;
  })();
  const end = await Promise.race([ponged, closed.then(([code]) => code)]).catch(
    () => "silent" as const,
  );
  ponged.catch(() => undefined);
  socket.terminate();
  if (end === "silent") return "neither an answer nor a close came";
  if (end !== undefined && !KNOWN_CODES.has(end)) return `it was closed with ${end}`;
  return texts.map((text) => faultOfFrame(caller, text)).find((fault) => fault !== undefined);
}

function faultOfFrame(caller: Caller, text: string): string | undefined {
  const frame = serverFrameSchema.safeParse(parse(text));
  if (!frame.success) return `a frame does not fit: ${text.slice(0, 300)}`;
  if (frame.data.type === "error" && frame.data.code === "internal.unexpected")
    return text.slice(0, 300);
  const sees = caller === "pro" || caller === "operator";
  return !sees && text.includes(CANARY) ? "another tenant's text is in a frame" : undefined;
}
