/** Kinds of values that variables of the environment have. */
import { z } from "zod";
import { type Duration, parseDuration } from "../protocols/duration.ts";
import { asBerthError } from "../protocols/errors.ts";

/** Such as `"250ms"` or `"10m"`; in milliseconds afterwards. */
export const duration = (fallback: Duration) =>
  z
    .string()
    .default(fallback)
    .transform((text, context) => {
      try {
        return parseDuration(text);
      } catch (thrown) {
        context.addIssue({ code: "custom", message: asBerthError(thrown).message });
        return z.NEVER;
      }
    });
export const port = (fallback: number) =>
  z.coerce.number().int().min(0).max(65_535).default(fallback);
export const count = (fallback: number) => z.coerce.number().int().positive().default(fallback);
/** With commas between. */
export const list = (fallback: string) =>
  z
    .string()
    .default(fallback)
    .transform((text) =>
      text
        .split(",")
        .map((part) => part.trim())
        .filter((part) => part !== ""),
    );

/** One or several URLs, such as those of a cluster, with commas between. */
export const urls = z
  .string()
  .refine((text) => text.split(",").every((part) => URL.canParse(part.trim())), "not a URL");
