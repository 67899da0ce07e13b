/** What a backup says of itself: `manifest.json`, written last. */
import { z } from "zod";
import { BerthError } from "../../protocols/errors.ts";

/** Grows when an older build could not restore what a newer one has saved. */
export const FORMAT = 1;

const fileSchema = z.object({
  /** In the backup's folder. */
  file: z.string().regex(/^[\w.-]+$/),
  bytes: z.number().int().nonnegative(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
export type FileFacts = z.infer<typeof fileSchema>;

const streamSchema = fileSchema.extend({
  name: z.string().regex(/^[\w-]+$/),
  config: z.record(z.string(), z.unknown()),
  state: z.looseObject({
    messages: z.number(),
    bytes: z.number(),
    first_seq: z.number(),
    last_seq: z.number(),
  }),
  /** What came later is not part of the backup: it was written after the cut. */
  up_to: z.number().optional(),
});
export type SavedStream = z.infer<typeof streamSchema>;

const manifestSchema = z.object({
  format: z.number().int(),
  berth_version: z.string(),
  /** Of the nats-server whose archives these are: an older one cannot read them. */
  server_version: z.string(),
  /** The cut: from then until then nobody wrote a record or took mail. */
  quiet_from: z.iso.datetime(),
  quiet_until: z.iso.datetime(),
  streams: z.array(streamSchema).min(1),
  /** Keys, sealed by a passphrase; absent when they were not asked for. */
  keys: fileSchema.optional(),
});
export type Manifest = z.infer<typeof manifestSchema>;

/** Throws `backup.invalid` for what is no manifest, or one of a format that this build does not know. */
export function parseManifest(text: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new BerthError("backup.invalid", "manifest.json is not JSON", { cause });
  }
  const format = z.object({ format: z.number() }).safeParse(value);
  if (format.success && format.data.format > FORMAT) {
    const message = `the backup is of format ${format.data.format}; this build knows up to ${FORMAT}`;
    throw new BerthError("backup.invalid", message);
  }
  const parsed = manifestSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue?.path.join(".") ?? "";
  throw new BerthError("backup.invalid", `manifest.json: ${where}: ${issue?.message ?? ""}`);
}
