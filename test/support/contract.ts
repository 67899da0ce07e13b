/**
 * The wire contract as stable text: everything that `protocols/` exports and another build, a client or the `nats`
 * CLI could notice. Made from the modules themselves, so nothing can be left out.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { ActorRef } from "../../protocols/ids.ts";
import type { Protocol, Tool } from "../../protocols/protocol.ts";
import { subjects } from "../../protocols/subjects.ts";
import { ROOT } from "./source.ts";

type JsonSchema = Readonly<Record<string, unknown>>;

/** The text of the whole contract, one section per module, each line short enough to be read in a diff. */
export async function describeContract(): Promise<string> {
  const sections = await Promise.all(
    modules().map(async (path) => {
      const exported = (await import(join(ROOT, path))) as Record<string, unknown>;
      const parts = Object.keys(exported)
        .toSorted()
        .flatMap((name) => describeExport(name, exported[name]));
      return parts.length === 0 ? "" : `# ${path}\n\n${parts.join("\n")}\n`;
    }),
  );
  return sections.filter((section) => section !== "").join("\n");
}

function modules(): string[] {
  return readdirSync(join(ROOT, "protocols"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => `protocols/${name}`)
    .toSorted();
}

function describeExport(name: string, value: unknown): string[] {
  if (value === subjects) return describeSubjects();
  if (value instanceof z.ZodType) return [`${name} ${schema(value)}`];
  if (value instanceof RegExp) return [`${name} ${value}`];
  if (isProtocol(value)) return describeProtocol(value);
  if (isTool(value)) return describeTool(value);
  if (typeof value === "function") return [];
  if (isSchemaTable(value)) {
    return Object.entries(value).map(([key, entry]) => `${name} ${key} ${schema(entry)}`);
  }
  // Tables of other exports, such as the places, are described where those stand.
  if (typeof value === "object" && value !== null && Object.values(value).some(isDescribed)) {
    const rows = Object.entries(value as Record<string, { name?: string; kind?: string }>);
    return [`${name} ${rows.map(([key, row]) => `${key}=${row.name ?? row.kind}`).join(" ")}`];
  }
  return [`${name} ${plain(value)}`];
}

const isProtocol = (value: unknown): value is Protocol =>
  typeof value === "object" && value !== null && "messages" in value && "kind" in value;
const isTool = (value: unknown): value is Tool =>
  typeof value === "object" && value !== null && "result" in value && "input" in value;
const isDescribed = (value: unknown) => isProtocol(value) || isTool(value);
const isSchemaTable = (value: unknown): value is Record<string, z.ZodType> =>
  typeof value === "object" &&
  value !== null &&
  Object.values(value).length > 0 &&
  Object.values(value).every((entry) => entry instanceof z.ZodType);

function describeProtocol({ kind, messages, platform }: Protocol): string[] {
  const lines = Object.entries(messages).map(([name, def]) => {
    const flags = def.type === "tell" ? `lane=${def.lane}` : def.readOnly ? "read-only" : "writes";
    const output = def.type === "ask" ? ` -> ${schema(def.output)}` : "";
    return `${kind}.${name} ${def.type} ${flags} ${schema(def.input)}${output}`;
  });
  return [`protocol ${kind}${platform ? " platform" : ""}`, ...lines];
}

function describeTool({ name, input, output }: Tool): string[] {
  return [`tool ${name} ${schema(input)} -> ${schema(output)}`];
}

/** Every builder called with names in place of values; the compiler sees to it that none is missing. */
function describeSubjects(): string[] {
  const ref: ActorRef = { tenant: "<tenant>", kind: "<kind>", key: "<key>" };
  const p = "<partition>" as unknown as number;
  const built: Record<keyof typeof subjects, string> = {
    mail: subjects.mail(ref, "<lane>" as never),
    mailOfLane: subjects.mailOfLane(p, "<lane>" as never),
    storedMail: subjects.storedMail(p, ref, "<lane>" as never),
    reminder: subjects.reminder(ref, "<name>"),
    due: subjects.due(ref),
    dueOfPartition: subjects.dueOfPartition(p),
    storedDue: subjects.storedDue(p, ref),
    record: subjects.record(p, ref),
    recordsOfPartition: subjects.recordsOfPartition(p),
    journal: subjects.journal(p, ref),
    journalOfPartition: subjects.journalOfPartition(p),
    live: subjects.live(ref),
    ask: subjects.ask(p, ref),
    asksOfPartition: subjects.asksOfPartition(p),
    inspect: subjects.inspect(p, ref),
    inspectionsOfPartition: subjects.inspectionsOfPartition(p),
    deadLetter: subjects.deadLetter(ref),
    deadLettersOf: subjects.deadLettersOf({ tenant: "<tenant>" }),
    audit: subjects.audit("<tenant>"),
    up: subjects.up("<worker>", p, ref),
    upOfPartition: subjects.upOfPartition(p),
    hello: subjects.hello("<worker>"),
    beat: subjects.beat("<worker>"),
    beats: subjects.beats,
    hellos: subjects.hellos,
    down: subjects.down("<worker>"),
    accounts: subjects.accounts("<verb>"),
    driver: subjects.driver("<node>", "<verb>"),
    pulse: subjects.pulse("<node>", "<incarnation>"),
    node: subjects.node("<node>", "<verb>"),
    vault: subjects.vault("<verb>"),
    value: subjects.value("jobs", "<key>"),
  };
  return Object.entries(built).map(([name, subject]) => `subject ${name} ${subject}`);
}

function schema(type: z.ZodType): string {
  const json = z.toJSONSchema(type, { io: "input", unrepresentable: "any" }) as JsonSchema;
  return render(json, (json["$defs"] ?? {}) as Record<string, JsonSchema>, "");
}

function render(type: JsonSchema, defs: Readonly<Record<string, JsonSchema>>, pad: string): string {
  const ref = type["$ref"];
  if (typeof ref === "string") return render(defs[ref.split("/").at(-1) ?? ""] ?? {}, defs, pad);
  const inner = (part: unknown) => render(part as JsonSchema, defs, pad);
  if ("const" in type) return plain(type["const"]);
  const places = type["prefixItems"];
  if (Array.isArray(places)) return `[${places.map(inner).join(", ")}]`;
  if (Array.isArray(type["enum"])) return type["enum"].map(plain).join(" | ");
  const any = type["anyOf"] ?? type["oneOf"];
  if (Array.isArray(any)) return any.map(inner).join(" | ");
  if (Array.isArray(type["allOf"])) return type["allOf"].map(inner).join(" & ");
  const name = type["type"] as string | readonly string[] | undefined;
  if (Array.isArray(name)) return name.map((one) => inner({ ...type, type: one })).join(" | ");
  if (name === "array") return `[${inner(type["items"])}]${bounds(type)}`;
  if (name !== "object") return `${name?.toString() ?? "any"}${bounds(type)}`;
  if (type["properties"] === undefined) return `{*: ${inner(type["additionalProperties"] ?? {})}}`;
  return renderObject(type, defs, pad);
}

function renderObject(
  type: JsonSchema,
  defs: Readonly<Record<string, JsonSchema>>,
  pad: string,
): string {
  const required = new Set(type["required"] as readonly string[] | undefined);
  const fields = Object.entries(type["properties"] as Record<string, JsonSchema>);
  const isStrict = type["additionalProperties"] === false;
  if (fields.length === 0) return isStrict ? "strict {}" : "{}";
  const deeper = `${pad}  `;
  const lines = fields.map(
    ([name, field]) =>
      `${deeper}${name}${required.has(name) ? "" : "?"}: ${render(field, defs, deeper)}`,
  );
  return `${isStrict ? "strict " : ""}{\n${lines.join("\n")}\n${pad}}`;
}

const BOUNDS = [
  "format",
  "pattern",
  "minLength",
  "maxLength",
  "minimum",
  "exclusiveMinimum",
  "maximum",
  "minItems",
  "maxItems",
  "default",
] as const;

/** Limits that JSON Schema states for every integer are left out. */
function bounds(type: JsonSchema): string {
  const stated = BOUNDS.filter(
    (name) => name in type && Math.abs(Number(type[name])) !== Number.MAX_SAFE_INTEGER,
  ).map((name) => `${name}=${plain(type[name])}`);
  return stated.length === 0 ? "" : ` (${stated.join(" ")})`;
}

function plain(value: unknown): string {
  if (value instanceof Set) return plain([...value]);
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "undefined";
  const rows = Array.isArray(value)
    ? value.map((row) => JSON.stringify(row))
    : Object.entries(value).map(([key, row]) => `${key}: ${JSON.stringify(row)}`);
  const one = rows.join(", ");
  return one.length <= 80 ? `[${one}]` : `[\n${rows.map((row) => `  ${row}`).join("\n")}\n]`;
}
