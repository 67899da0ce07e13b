/** Errors as RFC 9457 problems. The status comes from the error table, so a code means one status everywhere. */
import type { FastifyError } from "fastify";
import { hasZodFastifySchemaValidationErrors } from "fastify-type-provider-zod";
import type { Problem } from "../protocols/api.ts";
import { asBerthError, BerthError, ERROR_TABLE, type ErrorCode } from "../protocols/errors.ts";

/** A name, not a place: `docs/errors.md` explains each code. */
const TYPE_PREFIX = "urn:berth:error:";
/** What a client waits when a retryable error does not say for how long. */
const DEFAULT_RETRY_AFTER_MS = 1_000;

type FieldProblem = NonNullable<Problem["errors"]>[number];

/** A request whose fields were refused, each named by a JSON pointer. */
export class InvalidRequest extends BerthError {
  readonly fields: readonly FieldProblem[];

  constructor(code: ErrorCode, message: string, fields: readonly FieldProblem[]) {
    super(code, message, { field: fields[0]?.pointer });
    this.fields = fields;
  }
}

/** How long the caller waits before it tries again; undefined when trying again is of no use. */
export function retryAfterOf(error: BerthError): number | undefined {
  if (error.retry === "never") return undefined;
  return error.retryAfterMs ?? DEFAULT_RETRY_AFTER_MS;
}

export function toProblem(error: BerthError, instance: string): Problem {
  const retryAfterMs = retryAfterOf(error);
  return {
    type: `${TYPE_PREFIX}${error.code}`,
    title: ERROR_TABLE[error.code].title,
    status: error.status,
    detail: error.message,
    instance,
    code: error.code,
    retryable: retryAfterMs !== undefined,
    ...(retryAfterMs === undefined ? {} : { retry_after_ms: retryAfterMs }),
    ...(error instanceof InvalidRequest ? { errors: [...error.fields] } : fieldOf(error)),
  };
}

function fieldOf(error: BerthError): { errors?: FieldProblem[] } {
  if (error.field === undefined) return {};
  return { errors: [{ pointer: `/${error.field}`, code: error.code, message: error.message }] };
}

const FROM_FASTIFY: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: "request.too_large",
  FST_ERR_CTP_INVALID_MEDIA_TYPE: "request.unsupported_media_type",
  FST_ERR_NOT_FOUND: "request.not_found",
};

/** Whatever was thrown while a request was handled. What is foreign keeps its text to itself. */
export function errorOf(thrown: FastifyError | Error): BerthError {
  if (thrown instanceof BerthError) return thrown;
  if (hasZodFastifySchemaValidationErrors(thrown)) return invalidOf(thrown);
  const { code, statusCode } = thrown as Partial<FastifyError>;
  const known = code === undefined ? undefined : FROM_FASTIFY[code];
  if (known) return new BerthError(known, undefined, { cause: thrown });
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new BerthError("request.malformed", thrown.message, { cause: thrown });
  }
  return new BerthError("internal.unexpected", undefined, { cause: thrown });
}

/** As it may be told of a request whose body is secret: parsers and validators quote what they do not expect. */
export function withoutBody(error: BerthError): BerthError {
  if (error.code === "request.malformed") return new BerthError(error.code);
  if (!(error instanceof InvalidRequest)) return error;
  const fields = error.fields.map((field) =>
    field.code === "unrecognized_keys" ? { ...field, message: "a field is not known" } : field,
  );
  const [first] = fields;
  return new InvalidRequest(error.code, first?.message ?? "the request is not valid", fields);
}

/** An invalid path parameter is an invalid identifier: paths hold nothing else. */
function invalidOf(thrown: FastifyError): InvalidRequest {
  const inPath = thrown.validationContext === "params";
  const fields = (thrown.validation ?? []).slice(0, 20).map((issue) => ({
    pointer: issue.instancePath,
    code: issue.keyword,
    message: issue.message ?? "not valid",
  }));
  const [first] = fields;
  const where = first && first.pointer !== "/" ? `${first.pointer.slice(1)}: ` : "";
  return new InvalidRequest(
    inPath ? "id.invalid" : "request.invalid",
    `${where}${first?.message ?? "the request is not valid"}`,
    fields,
  );
}

/** Any thrown value, for places that have no request: frames, streams. */
export function thrownError(thrown: unknown): BerthError {
  return thrown instanceof Error ? errorOf(thrown) : asBerthError(thrown);
}
