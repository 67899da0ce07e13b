/**
 * Who has which dormant worker. A claim is one write with which the first writer wins (P1); it lives where the
 * deployment's other records do, as JSON that the stock `nats` command line reads.
 */
import { z } from "zod";
import { asBerthError } from "../../../protocols/errors.ts";
import { type WorkerSpec, workerSpecSchema } from "../../../protocols/executor.ts";
import type { Buckets } from "../../../runtime/transport.ts";

const claimSchema = z.object({
  spec: workerSpecSchema,
  /** The sandbox was told whose it is. One that was not, and whose claimer is gone, is of no use. */
  told: z.boolean(),
});

export interface Claim {
  readonly sandbox: string;
  readonly spec: WorkerSpec;
  readonly isTold: boolean;
}

export interface Claims {
  /** Those of this node. */
  all(): Promise<readonly Claim[]>;
  /** True for the first writer alone. */
  claim(sandbox: string, spec: WorkerSpec): Promise<boolean>;
  told(sandbox: string, spec: WorkerSpec): Promise<void>;
  release(sandbox: string): Promise<void>;
}

const encode = (value: z.input<typeof claimSchema>) =>
  new TextEncoder().encode(JSON.stringify(value));

export class BucketClaims implements Claims {
  readonly #buckets: Buckets;
  readonly #node: string;

  constructor(parts: { readonly buckets: Buckets; readonly node: string }) {
    this.#buckets = parts.buckets;
    this.#node = parts.node;
  }

  async all(): Promise<readonly Claim[]> {
    const entries = await this.#buckets.list("claims", this.#node);
    return entries.flatMap(({ key, value }) => {
      const parsed = claimSchema.safeParse(value && JSON.parse(new TextDecoder().decode(value)));
      const sandbox = key.slice(this.#node.length + 1);
      return parsed.success ? [{ sandbox, spec: parsed.data.spec, isTold: parsed.data.told }] : [];
    });
  }

  async claim(sandbox: string, spec: WorkerSpec): Promise<boolean> {
    try {
      const value = encode({ spec, told: false });
      await this.#buckets.put("claims", this.#key(sandbox), value, { expected: 0 });
      return true;
    } catch (thrown) {
      if (asBerthError(thrown).code === "record.conflict") return false;
      throw thrown;
    }
  }

  async told(sandbox: string, spec: WorkerSpec): Promise<void> {
    await this.#buckets.put("claims", this.#key(sandbox), encode({ spec, told: true }));
  }

  async release(sandbox: string): Promise<void> {
    await this.#buckets.remove("claims", this.#key(sandbox));
  }

  #key(sandbox: string): string {
    return `${this.#node}.${sandbox}`;
  }
}
