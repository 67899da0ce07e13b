/** Messages that a stream confirms with the sequence it gave them. */
import { headers } from "@nats-io/transport-node";
import { asBerthError, BerthError } from "../../protocols/errors.ts";
import { fromApiCode } from "./errors.ts";
import type { QuorumWatch } from "./quorum-watch.ts";
import type { Requests } from "./requests.ts";

export interface StreamHeaders {
  /** The sequence that the subject's newest message must have; 0 for none. */
  readonly expected?: number | undefined;
  readonly id?: string;
  readonly ttlMs?: number | undefined;
  readonly others?: Readonly<Record<string, string>>;
}

interface PubAck {
  readonly seq?: number;
  readonly error?: { readonly err_code?: number; readonly description?: string };
}

/** Under the 5 s that an election takes, so that a lost answer is noticed early. */
const TIMEOUT_MS = 3_000;
const decoder = new TextDecoder();

export class Publisher {
  readonly #requests: Requests;
  readonly #quorum: QuorumWatch;

  constructor(requests: Requests, quorum: QuorumWatch) {
    this.#requests = requests;
    this.#quorum = quorum;
  }

  /** Resolves with the sequence. Rejects with the stream's refusal, or `broker.unavailable` when the outcome is not known. */
  async publish(
    subject: string,
    data: Uint8Array,
    head: StreamHeaders = {},
    timeoutMs = TIMEOUT_MS,
  ): Promise<number> {
    const answer = await this.#request(subject, data, head, timeoutMs);
    const { seq, error } = parse(answer);
    if (error) throw fromApiCode(error.err_code, error.description ?? "refused", error);
    if (seq === undefined) throw new BerthError("broker.unavailable", "not a stream's answer");
    this.#quorum.answered("write");
    return seq;
  }

  async #request(
    subject: string,
    data: Uint8Array,
    head: StreamHeaders,
    timeoutMs: number,
  ): Promise<Uint8Array> {
    const options = { timeoutMs, headers: toHeaders(head), isBound: true };
    try {
      return await this.#requests.request(subject, data, options);
    } catch (thrown) {
      const error = asBerthError(thrown);
      // Nobody listens on the subject while a server starts or elects.
      const isUnknown = error.code === "ask.timeout" || error.code === "actor.moved";
      if (isUnknown) this.#quorum.unanswered("write");
      throw isUnknown ? new BerthError("broker.unavailable", error.message) : error;
    }
  }
}

function parse(answer: Uint8Array): PubAck {
  try {
    return JSON.parse(decoder.decode(answer)) as PubAck;
  } catch {
    return {};
  }
}

function toHeaders({ expected, id, ttlMs, others }: StreamHeaders) {
  const made = headers();
  if (expected !== undefined) made.set("Nats-Expected-Last-Subject-Sequence", String(expected));
  if (id !== undefined) made.set("Nats-Msg-Id", id);
  if (ttlMs !== undefined) made.set("Nats-TTL", `${ttlMs}ms`);
  for (const [name, value] of Object.entries(others ?? {})) made.set(name, value);
  return made;
}
