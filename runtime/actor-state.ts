/**
 * An actor's committed state in memory. Most turns take it without a copy: a turn that writes works on the very
 * object until its commit, and a read-only handler gets it frozen.
 *
 * Invariants:
 * S1 What a reader gets is the state of the last commit, whatever a turn or a commit under way has changed.
 * S2 No reader can change it: what is frozen throws, and what cannot be frozen is a copy of the reader's own.
 * S3 A draft that was not stored is never seen again.
 */
import { z } from "zod";
import { BerthError } from "../protocols/errors.ts";

interface Held {
  readonly value: unknown;
}

export class ActorState {
  readonly #kind: string;
  readonly #schema: z.ZodType;
  #json: string;
  /** The object itself, while nobody has been given it. */
  #own: Held | undefined;
  #frozen: Held | undefined;

  /** Throws `actor.state_unreadable` when the schema does not take it. */
  constructor(kind: string, schema: z.ZodType, json: string) {
    this.#kind = kind;
    this.#schema = tolerant(schema);
    this.#json = json;
    this.#own = { value: this.#parse(json) };
  }

  /** As the record has it. */
  get json(): string {
    return this.#json;
  }

  /** For a read-only handler (S1, S2). */
  read(): unknown {
    if (this.#frozen) return this.#frozen.value;
    const held = this.#own ?? { value: this.#parse(this.#json) };
    this.#own = undefined;
    if (deepFreeze(held.value)) this.#frozen = held;
    return held.value;
  }

  /** For turns that may write, until `store`; a draft that is dropped leaves nothing behind (S3). */
  draft(): unknown {
    const value = this.#own ? this.#own.value : this.#parse(this.#json);
    this.#own = undefined;
    return value;
  }

  /** A draft half way through its turns, for a read-only handler between them (S2). Throws as the constructor does. */
  view(json: string): unknown {
    const value = json === this.#json ? this.read() : this.#parse(json);
    deepFreeze(value);
    return value;
  }

  /** Throws as the constructor does when a load would not take `json`. */
  check(json: string): void {
    if (json !== this.#json) this.#validate(json);
  }

  /** Takes over what a commit has stored. */
  store(json: string, draft: unknown): void {
    this.#json = json;
    this.#own = { value: draft };
    this.#frozen = undefined;
  }

  /** Copied, because zod hands the nested objects of a default to everyone that takes it. */
  #parse(json: string): unknown {
    return structuredClone(this.#validate(json));
  }

  #validate(json: string): unknown {
    try {
      return this.#schema.parse(JSON.parse(json));
    } catch (cause) {
      const message = `the state of "${this.#kind}" does not fit its schema`;
      throw new BerthError("actor.state_unreadable", message, { cause });
    }
  }
}

/**
 * The schema, keeping fields of the state that it does not name: a newer build has written them and will want them
 * back. A schema that refuses unknown fields by itself goes on refusing.
 */
function tolerant(schema: z.ZodType): z.ZodType {
  const known = TOLERANT.get(schema);
  if (known) return known;
  const isPlain = schema instanceof z.ZodObject && schema.def.catchall === undefined;
  const made = isPlain ? schema.loose() : schema;
  TOLERANT.set(schema, made);
  return made;
}

/** One for all actors of a kind: zod compiles each schema anew. */
const TOLERANT = new WeakMap<z.ZodType, z.ZodType>();

/** False when something in it cannot be frozen: a date, a map and their like change behind their properties. */
function deepFreeze(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return true;
  const shape: unknown = Object.getPrototypeOf(value);
  if (shape !== Object.prototype && shape !== Array.prototype && shape !== null) return false;
  Object.freeze(value);
  return Object.values(value).every(deepFreeze);
}
