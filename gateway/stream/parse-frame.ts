/** Frames from clients: text to frame, or the error that answers it. Pure. */
import { BerthError } from "../../protocols/errors.ts";
import { type ClientFrame, clientFrameSchema } from "../../protocols/frames.ts";

export type ParsedFrame =
  | { readonly ok: true; readonly frame: ClientFrame }
  | { readonly ok: false; readonly error: BerthError; readonly ref: string | undefined };

const MAX_MESSAGE_CHARS = 300;

export function parseFrame(data: Buffer, isBinary: boolean): ParsedFrame {
  if (isBinary) return refused("frames are JSON text", undefined);
  let value: unknown;
  try {
    value = JSON.parse(data.toString("utf8"));
  } catch {
    return refused("the frame is not JSON", undefined);
  }
  const parsed = clientFrameSchema.safeParse(value);
  if (parsed.success) return { ok: true, frame: parsed.data };
  const [issue] = parsed.error.issues;
  const path = issue?.path.join(".");
  const message = `${path ? `${path}: ` : ""}${issue?.message ?? "the frame is not valid"}`;
  return refused(message.slice(0, MAX_MESSAGE_CHARS), refOf(value), path);
}

/** A frame that cannot be taken is answered under its `ref` all the same. */
function refOf(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { ref } = value as { ref?: unknown };
  return typeof ref === "string" && ref.length <= 128 ? ref : undefined;
}

function refused(message: string, ref: string | undefined, field?: string): ParsedFrame {
  const code = field === undefined ? "request.malformed" : "request.invalid";
  return { ok: false, ref, error: new BerthError(code, message, { field: field || undefined }) };
}
