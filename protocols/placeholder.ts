/** What stands in an agent's environment in the place of a key that is brokered. */
import { z } from "zod";
import { idSchema } from "./ids.ts";

/** What a placeholder stands for. It says nothing that its job does not know. */
export const placeholderSchema = z.object({
  worker: idSchema,
  tenant: idSchema,
  user: idSchema,
  job: idSchema,
  attempt: z.number().int().positive(),
  provider: z.string(),
  /** Milliseconds since the epoch. */
  expires_at: z.number(),
});
export type Placeholder = z.infer<typeof placeholderSchema>;
