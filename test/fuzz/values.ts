/** Values from JSON schemas: valid ones, ones that are nearly valid, and hostile ones. */
import * as fc from "fast-check";

export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly maxItems?: number;
  readonly pattern?: string;
  readonly format?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
}
export type Schemas = Readonly<Record<string, Schema>>;
type Values = fc.Arbitrary<unknown>;

const DEEP = `${"[".repeat(3_000)}${"]".repeat(3_000)}`;

/** What breaks programs that trust what they are sent. */
const HOSTILE_TEXTS = [
  "",
  " ",
  "\u0000",
  "../../etc/passwd",
  "..%2f..%2f",
  "%00",
  "%",
  "*",
  ">",
  "a.b",
  "$KV.>",
  "$JS.API.STREAM.DELETE.BERTH_AUDIT",
  "berth-platform",
  "__proto__",
  "constructor",
  "toString",
  "\ud800",
  "\u202e\u0000\uffff",
  "\r\nX-Injected: yes",
  "' OR 1=1 --",
  `{"$ref":"#"}`,
  "$".concat("{jndi:ldap://127.0.0.1/a}"),
  "NaN",
  "-0",
  "1e309",
  "😀".repeat(50),
  "x".repeat(5_000),
] as const;

export const hostileText: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(...HOSTILE_TEXTS),
  fc.string({ unit: "binary", maxLength: 60 }),
  fc.string({ maxLength: 200 }),
);

const hostileValue: Values = fc.oneof(
  hostileText,
  fc.constantFrom(null, true, -1, 0.5, 2 ** 53, -(2 ** 53), 1e308, [], {}, [[]]),
  fc.constantFrom(...['{"__proto__":{"scope":"operator"}}', DEEP].map((text) => JSON.parse(text))),
  fc.jsonValue({ maxDepth: 3 }),
);

/** Values that fit the schema. */
export function valid(schema: Schema, schemas: Schemas): Values {
  if (schema.$ref !== undefined) {
    return valid(schemas[schema.$ref.split("/").at(-1) ?? ""] ?? {}, schemas);
  }
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return fc.oneof(...choices.map((choice) => valid(choice, schemas)));
  if (schema.allOf?.[0]) return valid(schema.allOf[0], schemas);
  return ofType(schema, schemas);
}

function ofType(schema: Schema, schemas: Schemas): Values {
  const [type] = [schema.type ?? "any"].flat();
  switch (type) {
    case "object":
      return object(schema, schemas);
    case "array":
      return fc.array(valid(schema.items ?? {}, schemas), {
        maxLength: Math.min(schema.maxItems ?? 4, 4),
      });
    case "integer":
    case "number":
      return fc.integer({
        min: schema.minimum ?? (schema.exclusiveMinimum ?? -1_001) + 1,
        max: Math.min(schema.maximum ?? 100_000, 100_000),
      });
    case "boolean":
      return fc.boolean();
    case "null":
      return fc.constant(null);
    case "string":
      return text(schema);
    default:
      return fc.jsonValue({ maxDepth: 2 });
  }
}

/** What fields of a name must hold to get anywhere. */
const KNOWN: Readonly<Record<string, readonly unknown[]>> = {
  agent: ["shell", "echo"],
  model: [undefined, "claude-sonnet-4-5"],
  session_id: [undefined],
};

function object(schema: Schema, schemas: Schemas): Values {
  const { properties = {}, required = [], additionalProperties } = schema;
  const own = Object.entries(properties).map(([name, of]) => {
    const known = KNOWN[name];
    const fitting = valid(of, schemas);
    if (known === undefined) return [name, fitting] as const;
    return [name, fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...known) }, fitting)] as const;
  });
  const record = fc.record(Object.fromEntries(own), { requiredKeys: [...required] });
  if (typeof additionalProperties !== "object") return record;
  return fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), valid(additionalProperties, schemas), {
    maxKeys: 3,
  });
}

function text({ format, maxLength, minLength, pattern }: Schema): Values {
  if (format === "date-time") {
    return fc.date({ min: new Date(0), noInvalidDate: true }).map((date) => date.toISOString());
  }
  if (pattern !== undefined) return fc.stringMatching(new RegExp(pattern));
  return fc.string({ minLength: minLength ?? 0, maxLength: Math.min(maxLength ?? 40, 40) });
}

/** A valid value with one thing wrong with it. */
export function nearlyValid(schema: Schema, schemas: Schemas): Values {
  return fc
    .tuple(
      valid(schema, schemas),
      fc.nat(),
      hostileValue,
      fc.constantFrom("drop", "add", "replace"),
    )
    .map(([value, at, other, how]) => {
      if (typeof value !== "object" || value === null || Array.isArray(value)) return other;
      const names = Object.keys(value);
      const name = names[at % Math.max(1, names.length)] ?? "none";
      if (how === "add") return { ...value, [`x${name}`]: other };
      if (how === "replace") return { ...value, [name]: other };
      return Object.fromEntries(Object.entries(value).filter(([key]) => key !== name));
    });
}

export function anyValue(schema: Schema, schemas: Schemas): Values {
  return fc.oneof(
    { weight: 4, arbitrary: valid(schema, schemas) },
    { weight: 4, arbitrary: nearlyValid(schema, schemas) },
    { weight: 1, arbitrary: hostileValue },
  );
}
