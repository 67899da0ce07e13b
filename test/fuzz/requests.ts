/** Requests for every operation of the OpenAPI document, from valid to hostile. */
import * as fc from "fast-check";
import { CALLERS, type Caller, type Stage } from "./stage.ts";
import { anyValue, hostileText, type Schema, type Schemas, valid } from "./values.ts";

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly schema: Schema;
}

export interface Operation {
  readonly method: string;
  readonly path: string;
  readonly parameters: readonly Parameter[];
  readonly body: Schema | undefined;
}

export interface ApiDocument {
  readonly operations: readonly Operation[];
  readonly schemas: Schemas;
}

export interface ApiRequest {
  readonly caller: Caller;
  readonly method: string;
  /** As the document has it: what is broken is named by it. */
  readonly route: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

interface RawOperation {
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: {
    readonly content: Readonly<Record<string, { readonly schema: Schema }>>;
  };
}

export async function readDocument(url: string): Promise<ApiDocument> {
  const { components, paths } = (await (await fetch(`${url}/openapi.json`)).json()) as {
    readonly components: { readonly schemas: Schemas };
    readonly paths: Readonly<Record<string, Readonly<Record<string, RawOperation>>>>;
  };
  const operations = Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, { parameters = [], requestBody }]) => ({
      method: method.toUpperCase(),
      path,
      parameters,
      body: requestBody?.content["application/json"]?.schema,
    })),
  );
  return { operations, schemas: components.schemas };
}

/** Things that a valid path may name: those of the stage, and whatever fits. Nothing names what the stage itself needs. */
export function pathValue(
  stage: Stage,
  path: string,
  { name, schema }: Parameter,
  schemas: Schemas,
) {
  const group = path.split("/").slice(0, 3).join("/");
  const own = name === "id" || name === "tenant" ? (stage.owned[group] ?? []) : [];
  // What an operator does to a tenant is done to one that nobody uses.
  const known = group === "/v1/tenants" || group === "/v1/actors" ? ["t-ent"] : own;
  const fitting = valid(schema, schemas).map(String);
  return known.length === 0 ? fitting : fc.oneof(fc.constantFrom(...known), fitting);
}

const HEADERS = [
  "idempotency-key",
  "last-event-id",
  "accept",
  "x-request-id",
  "traceparent",
  "if-match",
];
/** Those whose requests get furthest. */
const FREQUENT: readonly Caller[] = ["pro", "pro", "free", "operator", "operator", "operator"];

function seldom<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> {
  return fc.oneof({ weight: 20, arbitrary: fc.constant(null) }, arbitrary);
}

const someHeaders = fc.dictionary(
  fc.constantFrom(...HEADERS),
  fc.oneof(
    fc.constantFrom("a", "7", "*/*", "text/event-stream", "application/json;q=0", "-1"),
    fc.string({ maxLength: 300 }).map((text) => text.replaceAll(/[^\x21-\x7e]/g, "x")),
  ),
  { maxKeys: 2 },
);

export function anyRequest(
  stage: Stage,
  { operations, schemas }: ApiDocument,
): fc.Arbitrary<ApiRequest> {
  return fc
    .constantFrom(...operations)
    .chain((operation) => ofOperation(stage, operation, schemas));
}

function ofOperation(
  stage: Stage,
  operation: Operation,
  schemas: Schemas,
): fc.Arbitrary<ApiRequest> {
  const { body, method, parameters, path } = operation;
  const inPath = parameters.filter((each) => each.in === "path");
  const inQuery = parameters.filter((each) => each.in === "query");
  const segments = fc.tuple(
    ...inPath.map((each) =>
      fc.oneof({ weight: 20, arbitrary: pathValue(stage, path, each, schemas) }, hostileText),
    ),
  );
  const query = fc.tuple(
    ...inQuery.map(({ schema }) =>
      fc.option(
        fc.oneof({ weight: 3, arbitrary: valid(schema, schemas).map(String) }, hostileText),
        {
          freq: 2,
        },
      ),
    ),
    seldom(hostileText),
  );
  const content = body
    ? fc.oneof(
        { weight: 8, arbitrary: anyValue(body, schemas).map((value) => JSON.stringify(value)) },
        hostileText,
        fc.constant(undefined),
      )
    : seldom(hostileText).map((text) => text ?? undefined);
  return fc
    .record({
      caller: fc.constantFrom(...CALLERS, ...FREQUENT),
      segments,
      query,
      content,
      headers: someHeaders,
      type: fc.oneof(
        { weight: 20, arbitrary: fc.constant("application/json") },
        fc.constantFrom("text/plain", "x"),
      ),
    })
    .map(({ caller, content: text, headers, query: values, segments: names, type }) => ({
      caller,
      method,
      route: `${method} ${path}`,
      path: `${fill(path, inPath, names)}${queryText([...inQuery.map(({ name }) => name), "x"], values)}`,
      headers: { ...headers, ...(text === undefined ? {} : { "content-type": type }) },
      body: method === "GET" ? undefined : text,
    }));
}

export function fill(
  path: string,
  parameters: readonly Parameter[],
  values: readonly string[],
): string {
  return parameters.reduce(
    (filled, { name }, at) => filled.replace(`{${name}}`, encode(values[at] ?? "")),
    path,
  );
}

export function queryText(names: readonly string[], values: readonly (string | null)[]): string {
  const parts = names.flatMap((name, at) => {
    const value = values[at];
    return value === null || value === undefined ? [] : [`${name}=${encode(value)}`];
  });
  return parts.length === 0 ? "" : `?${parts.join("&")}`;
}

/** A lone surrogate has no encoding; a path of dots would be another path to whoever sends it. */
function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replaceAll(".", "%2E");
}
