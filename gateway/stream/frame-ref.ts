/** What a client calls its frame by, for the answer to name it. Pure. */
import type { ClientFrame } from "../../protocols/frames.ts";

export function refOf(frame: ClientFrame | { readonly ref?: string | undefined }): {
  ref?: string;
} {
  const ref = "ref" in frame ? frame.ref : undefined;
  return ref === undefined ? {} : { ref };
}
