/** Changes to the tier table as the configuration has them. */
import { z } from "zod";
import { parseDuration } from "../protocols/duration.ts";
import { asBerthError, BerthError } from "../protocols/errors.ts";
import { DEFAULT_TIERS, TIERS, type TierTable, tierTable } from "../protocols/tiers.ts";

/** JSON; durations may be written `"1s"`. Throws `config.invalid`. */
export function readTiers(text: string): TierTable {
  try {
    const overrides: unknown = JSON.parse(text, (key, value: unknown) =>
      key.endsWith("Ms") && typeof value === "string" ? parseDuration(value) : value,
    );
    const fields = z.partialRecord(z.enum(Object.keys(DEFAULT_TIERS.free)), z.unknown());
    const schema = z.strictObject(
      Object.fromEntries(TIERS.map((tier) => [tier, fields.optional()])),
    );
    return tierTable(schema.parse(overrides));
  } catch (thrown) {
    const reason =
      thrown instanceof z.ZodError ? describeIssue(thrown) : asBerthError(thrown).message;
    throw new BerthError("config.invalid", `BERTH_TIERS: ${reason}`, {
      field: "BERTH_TIERS",
      cause: thrown,
    });
  }
}

function describeIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  return `${issue?.path.join(".") ?? ""} ${issue?.message ?? "not valid"}`.trim();
}
