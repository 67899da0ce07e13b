/** Pairs of requests that differ in one name alone: of something of another tenant's, and of nothing. No outsider may tell them apart. */
import * as fc from "fast-check";
import { type Answer, parse, send } from "./answers.ts";
import { type ApiDocument, type ApiRequest, fill, type Operation, queryText } from "./requests.ts";
import { OUTSIDERS, type Stage } from "./stage.ts";
import { type Schemas, valid } from "./values.ts";

export interface Pair {
  readonly there: ApiRequest;
  readonly nowhere: ApiRequest;
}

const NO_TENANT = "t-void";

/** The same moment, so that both are as fresh; the last characters are of nothing that was made. */
function nowhereLike(id: string): string {
  if (!/^(job|ses)_/.test(id)) return NO_TENANT;
  return `${id.slice(0, -6)}ZZZZZZ`;
}

/** Operations that name something: in the path, in the query, or in the body. */
export function anyPair(stage: Stage, { operations, schemas }: ApiDocument): fc.Arbitrary<Pair> {
  const all = operations.flatMap((operation) => [
    ...byPath(stage, operation, schemas),
    ...byQuery(operation, schemas),
    ...byBody(stage, operation),
  ]);
  return fc.oneof(...all);
}

function byPath(stage: Stage, operation: Operation, schemas: Schemas): fc.Arbitrary<Pair>[] {
  const inPath = operation.parameters.filter((each) => each.in === "path");
  const owned = stage.owned[operation.path.split("/").slice(0, 3).join("/")];
  const [first, ...rest] = inPath;
  if (!first || !owned) return [];
  const others = fc.tuple(...rest.map(({ schema }) => valid(schema, schemas).map(String)));
  return [
    fc
      .tuple(
        fc.constantFrom(...owned),
        others,
        bodyOf(operation, schemas),
        fc.constantFrom(...OUTSIDERS),
      )
      .map(([id, names, body, caller]) => {
        const at = (name: string) => ({
          ...base(operation, caller, body),
          path: fill(operation.path, inPath, [name, ...names]),
        });
        return { there: at(id), nowhere: at(nowhereLike(id)) };
      }),
  ];
}

function byQuery(operation: Operation, schemas: Schemas): fc.Arbitrary<Pair>[] {
  const inPath = operation.parameters.filter((each) => each.in === "path");
  if (!operation.parameters.some(({ name, in: where }) => name === "tenant" && where === "query"))
    return [];
  const names = fc.tuple(...inPath.map(({ schema }) => valid(schema, schemas).map(String)));
  return [
    fc
      .tuple(names, bodyOf(operation, schemas), fc.constantFrom(...OUTSIDERS))
      .map(([values, body, caller]) => {
        const of = (tenant: string) => ({
          ...base(operation, caller, body),
          path: `${fill(operation.path, inPath, values)}${queryText(["tenant"], [tenant])}`,
        });
        return { there: of("t-pro"), nowhere: of(NO_TENANT) };
      }),
  ];
}

function byBody(stage: Stage, operation: Operation): fc.Arbitrary<Pair>[] {
  if (operation.path !== "/v1/jobs" || operation.method !== "POST") return [];
  const sessions = stage.owned["/v1/sessions"] ?? [];
  return [
    fc.tuple(fc.constantFrom(...sessions), fc.constantFrom(...OUTSIDERS)).map(([id, caller]) => {
      const of = (session_id: string) => {
        const body = { agent: "shell", prompt: "x", session_id };
        return { ...base(operation, caller, JSON.stringify(body)), path: operation.path };
      };
      return { there: of(id), nowhere: of(nowhereLike(id)) };
    }),
  ];
}

function bodyOf({ body, method }: Operation, schemas: Schemas): fc.Arbitrary<string | undefined> {
  if (!body || method === "GET") return fc.constant(undefined);
  return valid(body, schemas).map((value) => JSON.stringify(value));
}

function base({ method, path }: Operation, caller: ApiRequest["caller"], body: string | undefined) {
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  return { caller, method, route: `${method} ${path}`, headers, body };
}

/** What tells the two apart; undefined when nothing does. */
export async function differenceOf(
  stage: Stage,
  { nowhere, there }: Pair,
): Promise<string | undefined> {
  const [one, other] = [await send(stage, there), await send(stage, nowhere)];
  const [seen, unseen] = [shapeOf(one, there), shapeOf(other, nowhere)];
  if (seen === unseen) return undefined;
  return `${there.path} is told from ${nowhere.path}: ${seen} and ${unseen}`;
}

/** All of an answer but what names this request, and the name that was asked for. */
function shapeOf({ status, text, type }: Answer, { path }: ApiRequest): string {
  const body = parse(text);
  const told = typeof body === "object" && body !== null ? { ...body, instance: "" } : body;
  const names = path.split(/[/?=&]/).filter((part) => /^(job|ses|t)[_-]/.test(part));
  const shape = names.reduce(
    (shown, name) => shown.replaceAll(name, "NAME"),
    JSON.stringify({ status, type, told: told ?? text }),
  );
  return shape;
}
