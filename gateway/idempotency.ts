/**
 * `Idempotency-Key`: a request sent twice acts once.
 *
 * I1 The first request writes a reservation with compare-and-set before it acts; another one is told `in_flight`.
 * I2 The reservation holds the seed of every id that the request makes. When its gateway dies, the lease runs
 *    out and a retry takes the reservation over with the same seed, so actors see the same ids again.
 * I3 Answers worth trying again are not kept. After a 5xx, whose fate is unknown, a retry has the same seed;
 *    after a refusal (429) it has a new one, for actors answer the same id the same way.
 */
import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from "node:crypto";
import { z } from "zod";
import { asBerthError, BerthError } from "../protocols/errors.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Buckets } from "../runtime/transport.ts";

const KEPT_MS = 24 * 3_600_000;
/** Longer than any request lives, so that a reservation past it has lost its gateway. */
const LEASE_MS = 30_000;
const KEY_PATTERN = /^[\x21-\x7e]{1,255}$/;
const CIPHER = "aes-256-gcm";

const entrySchema = z.object({
  fingerprint: z.string(),
  seed: z.string(),
  /** While it runs: when its gateway must be done. */
  until: z.number(),
  answer: z
    .object({ status: z.number(), location: z.string().optional(), body: z.string() })
    .optional(),
});
export type IdempotencyEntry = z.infer<typeof entrySchema>;
export type Answer = NonNullable<IdempotencyEntry["answer"]>;

export type Verdict =
  | { readonly do: "replay"; readonly answer: Answer }
  | { readonly do: "take-over" }
  | { readonly do: "refuse"; readonly error: BerthError };

/** What becomes of a request whose key is known already. Pure. */
export function decideIdempotency(
  entry: IdempotencyEntry,
  fingerprint: string,
  now: number,
): Verdict {
  if (entry.fingerprint !== fingerprint) {
    return { do: "refuse", error: new BerthError("idempotency.mismatch") };
  }
  if (entry.answer) return { do: "replay", answer: entry.answer };
  if (entry.until <= now) return { do: "take-over" };
  return {
    do: "refuse",
    error: new BerthError("idempotency.in_flight", undefined, { retryAfterMs: 500 }),
  };
}

/** Whether the answer is final, so that a repetition may get it again (I3). Pure. */
export function isFinal(status: number): boolean {
  return status < 500 && status !== 429 && status !== 401 && status !== 409;
}

export function fingerprintOf(method: string, url: string, body: unknown): string {
  return createHash("sha256")
    .update(JSON.stringify([method, url, body ?? null]))
    .digest("hex");
}

/** The right to act once. `settle` keeps the answer, or gives the reservation up. */
export interface Reservation {
  readonly seed: string;
  settle(answer: Answer): Promise<void>;
}

export interface Idempotency {
  /** `secret`, the caller's credential, seals an answer that nobody else may read, such as one with a new key. */
  begin(request: {
    readonly caller: string;
    readonly secret: string | undefined;
    readonly key: string;
    readonly fingerprint: string;
  }): Promise<Reservation | { readonly replay: Answer }>;
}

export function createIdempotency(deps: {
  readonly buckets: Buckets;
  readonly clock: Clock;
  readonly newSeed: () => string;
}): Idempotency {
  const { buckets, clock, newSeed } = deps;
  const read = async (name: string) => {
    const found = await buckets.get("idempotency", name);
    if (!found?.value) return undefined;
    return {
      entry: entrySchema.parse(JSON.parse(new TextDecoder().decode(found.value))),
      revision: found.revision,
    };
  };
  const write = (name: string, entry: IdempotencyEntry, expected: number) =>
    buckets.put("idempotency", name, new TextEncoder().encode(JSON.stringify(entry)), {
      expected,
      ttlMs: KEPT_MS,
    });

  return {
    async begin({ caller, secret, key, fingerprint }) {
      if (!KEY_PATTERN.test(key)) {
        throw new BerthError(
          "request.invalid",
          "Idempotency-Key must be 1 to 255 visible ASCII characters",
          {
            field: "idempotency-key",
          },
        );
      }
      const name = createHash("sha256").update(`${caller}\n${key}`).digest("hex");
      const box = boxOf(secret, name);
      const reserve = async (held: string, expected: number): Promise<Reservation> => {
        const base = { fingerprint, seed: held };
        const revision = await write(name, { ...base, until: clock.now() + LEASE_MS }, expected);
        return {
          seed: held,
          async settle(answer) {
            if (!isFinal(answer.status)) {
              const next = answer.status >= 500 ? held : newSeed();
              await write(name, { fingerprint, seed: next, until: clock.now() }, revision);
              return;
            }
            const sealed = { ...answer, body: box.seal(answer.body) };
            await write(name, { ...base, until: clock.now(), answer: sealed }, revision);
          },
        };
      };
      const known = await read(name);
      if (!known) return lostRace(reserve(newSeed(), 0));
      const verdict = decideIdempotency(known.entry, fingerprint, clock.now());
      if (verdict.do === "refuse") throw verdict.error;
      if (verdict.do === "take-over") return lostRace(reserve(known.entry.seed, known.revision));
      return { replay: { ...verdict.answer, body: box.open(verdict.answer.body) } };
    },
  };
}

/** Another request reserved the key between our look and our write (I1). */
async function lostRace(reserving: Promise<Reservation>): Promise<Reservation> {
  try {
    return await reserving;
  } catch (thrown) {
    const error = asBerthError(thrown);
    if (error.code !== "record.conflict") throw error;
    throw new BerthError("idempotency.in_flight", undefined, { retryAfterMs: 500 });
  }
}

interface Box {
  seal(text: string): string;
  open(text: string): string;
}

function boxOf(secret: string | undefined, name: string): Box {
  if (secret === undefined) return { seal: (text) => text, open: (text) => text };
  const key = Buffer.from(hkdfSync("sha256", secret, name, "berth idempotency", 32));
  return { seal: (text) => seal(key, text), open: (text) => unseal(key, text) };
}

function seal(key: Buffer, text: string): string {
  const nonce = randomBytes(12);
  const cipher = createCipheriv(CIPHER, key, nonce);
  const sealed = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString("base64");
}

/** A credential that was replaced cannot open what the old one sealed: the request counts as another one. */
function unseal(key: Buffer, text: string): string {
  const bytes = Buffer.from(text, "base64");
  try {
    const decipher = createDecipheriv(CIPHER, key, bytes.subarray(0, 12));
    decipher.setAuthTag(bytes.subarray(12, 28));
    return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString("utf8");
  } catch (thrown) {
    throw new BerthError("idempotency.mismatch", "the key was used with another credential", {
      cause: thrown,
    });
  }
}
