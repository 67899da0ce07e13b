/** What every answer must be, whatever was asked. */
import { problemSchema } from "../../protocols/api.ts";
import type { ApiRequest } from "./requests.ts";
import { CANARY, type Stage } from "./stage.ts";

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly requestId: string;
  readonly text: string;
}

const PATIENCE_MS = 15_000;

/** A stream has no end: what it begins with is enough. */
export async function send(stage: Stage, request: ApiRequest): Promise<Answer> {
  const key = stage.keyOf(request.caller);
  const abort = new AbortController();
  const late = AbortSignal.any([abort.signal, AbortSignal.timeout(PATIENCE_MS)]);
  const answer = await fetch(`${stage.url}${request.path}`, {
    method: request.method,
    headers: {
      ...request.headers,
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    },
    ...(request.body === undefined ? {} : { body: request.body.toWellFormed() }),
    signal: late,
  });
  const type = answer.headers.get("content-type") ?? "";
  const isStream = type.startsWith("text/event-stream");
  const text = isStream ? "" : await answer.text();
  if (isStream) abort.abort();
  return { status: answer.status, type, requestId: answer.headers.get("x-request-id") ?? "", text };
}

/** What is wrong with the answer; undefined when nothing is. */
export function faultOf(request: ApiRequest, answer: Answer): string | undefined {
  const { requestId, status, text, type } = answer;
  if (status === 500) return `500: ${text.slice(0, 500)}`;
  const sees = request.caller === "pro" || request.caller === "operator";
  if (!sees && text.includes(CANARY)) return "another tenant's text is in the answer";
  if (requestId === "") return "the answer has no request id";
  if (status < 400) return undefined;
  if (!type.startsWith("application/problem+json")) return `${status} is ${type}, not a problem`;
  const problem = problemSchema.safeParse(parse(text));
  if (!problem.success) return `${status} is a problem that does not fit: ${text.slice(0, 300)}`;
  if (problem.data.status !== status) return `${status} says ${problem.data.status}`;
  if (problem.data.instance !== requestId) return `${status} names another request`;
  return undefined;
}

export function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
