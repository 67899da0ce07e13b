/**
 * How an actor's protocol is written down: `protocol("user", { submit: ask({...}, {...}), finished: tell({...}) })`.
 * A protocol is data that both sides import; behaviour is given elsewhere, with `actor()`.
 */
import { z } from "zod";
import { BerthError } from "./errors.ts";
import { ID_PATTERN } from "./ids.ts";

/** Mail is handled control first, then user, then background; order holds inside a lane. */
export const LANES = ["control", "user", "background"] as const;
export type Lane = (typeof LANES)[number];

/** Lanes of the mailbox: the runtime's own messages come before all of them, whatever the actor's standing. */
export const MAIL_LANES = ["system", ...LANES] as const;
export type MailLane = (typeof MAIL_LANES)[number];

export interface TellDef<I extends z.ZodType = z.ZodType> {
  readonly type: "tell";
  readonly input: I;
  readonly lane: Lane;
}

export interface AskDef<I extends z.ZodType = z.ZodType, O extends z.ZodType = z.ZodType> {
  readonly type: "ask";
  readonly input: I;
  readonly output: O;
  /** A read-only handler never writes: its reply does not wait for a commit and its state is not saved. */
  readonly readOnly: boolean;
}

export type MessageDef = TellDef | AskDef;
export type Messages = Readonly<Record<string, MessageDef>>;

export interface Protocol<M extends Messages = Messages> {
  readonly kind: string;
  readonly messages: M;
  /** Its actors live in the platform's own tenant, whoever calls; they may address actors of any tenant. */
  readonly platform: boolean;
}

type Shape = z.core.$ZodLooseShape;

/** A durable one-way message. Unknown fields are dropped, so that an older reader takes a newer sender. */
export function tell<S extends Shape>(
  shape: S,
  options: { readonly lane?: Lane } = {},
): TellDef<z.ZodObject<S>> {
  return { type: "tell", input: z.object(shape), lane: options.lane ?? "user" };
}

/** A message with an answer. Not durable until answered; the answer comes after the turn's commit. */
export function ask<S extends Shape, R extends Shape, const W extends boolean = false>(
  input: S,
  output: R,
  options: { readonly readOnly?: W } = {},
): AskDef<z.ZodObject<S>, z.ZodObject<R>> & { readonly readOnly: W } {
  return {
    type: "ask",
    input: z.object(input),
    output: z.object(output),
    readOnly: (options.readOnly ?? false) as W,
  };
}

/** Names that promises and plain objects claim; a proxy with such a message would misbehave. */
const CLAIMED = new Set([
  "then",
  "catch",
  "finally",
  "constructor",
  "toString",
  "valueOf",
  "toJSON",
]);

/** Declares a kind of actor. Throws `config.invalid` for a kind or message name that could not be addressed. */
export function protocol<const M extends Messages>(
  kind: string,
  messages: M,
  options: { readonly platform?: boolean } = {},
): Protocol<M> {
  if (!ID_PATTERN.test(kind)) throw new BerthError("config.invalid", `"${kind}" is not a kind`);
  for (const name of Object.keys(messages)) {
    if (CLAIMED.has(name) || !ID_PATTERN.test(name)) {
      throw new BerthError("config.invalid", `"${name}" cannot name a message of "${kind}"`);
    }
  }
  return Object.freeze({ kind, messages, platform: options.platform ?? false });
}

export type InputOf<D extends MessageDef> = z.input<D["input"]>;
export type ReceivedOf<D extends MessageDef> = z.output<D["input"]>;
// biome-ignore lint/suspicious/noConfusingVoidType: a tell has no answer, and callers await it as Promise<void>.
export type OutputOf<D extends MessageDef> = D extends AskDef ? z.output<D["output"]> : void;

/** The messages of `M` that are tells, or asks. */
export type TellsOf<M extends Messages> = {
  [K in keyof M as M[K] extends TellDef ? K : never]: M[K];
};
export type AsksOf<M extends Messages> = {
  [K in keyof M as M[K] extends AskDef ? K : never]: M[K];
};

/** Long work that runs outside a turn; what comes back is a message. Tools must be safe to run twice. */
export interface Tool<I extends z.ZodType = z.ZodType, O extends z.ZodType = z.ZodType> {
  readonly name: string;
  readonly input: I;
  readonly output: O;
  /** What the actor receives: the output, or the error the tool ended with. */
  readonly result: {
    readonly effect: z.ZodString;
    readonly output: z.ZodOptional<O>;
    readonly error: z.ZodOptional<typeof wireErrorSchema>;
  };
}

export const wireErrorSchema = z.object({
  code: z.string(),
  message: z.string(),
  field: z.string().optional(),
  retryAfterMs: z.number().optional(),
});

/** Declares a tool; `tell(tool.result)` declares the message that takes its result. */
export function tool<I extends Shape, O extends Shape>(
  name: string,
  input: I,
  output: O,
): Tool<z.ZodObject<I>, z.ZodObject<O>> {
  const out = z.object(output);
  return Object.freeze({
    name,
    input: z.object(input),
    output: out,
    result: { effect: z.string(), output: out.optional(), error: wireErrorSchema.optional() },
  });
}
