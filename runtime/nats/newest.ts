/** Reads the newest message of each subject that a filter matches, however many there are. */
import {
  AckPolicy,
  DeliverPolicy,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
} from "@nats-io/jetstream";
import { BerthError } from "../../protocols/errors.ts";
import { fromNats } from "./errors.ts";

const BATCH = 500;
/** The shortest wait that a pull may have. Only a reading that meets an expiry waits so long. */
const PULL_EXPIRES_MS = 1_000;
/** A reader that went away is forgotten by the broker after this long. */
const INACTIVE_NS = 30_000_000_000;
const EMPTY_PULLS = 5;

interface Query {
  readonly stream: string;
  readonly filter: string;
  readonly headersOnly: boolean;
  /** Only what was stored after this sequence; a subject may then come several times, its newest message last. */
  readonly after?: number | undefined;
}

/**
 * Goes through a consumer that lives as long as the reading: the broker's direct batch stops at 1024 subjects.
 * Messages may go away meanwhile (a TTL), so what is left is taken from each delivery, not from the start.
 */
export async function* readNewest(
  parts: { readonly js: JetStreamClient; readonly jsm: JetStreamManager },
  { stream, filter, headersOnly, after }: Query,
): AsyncGenerator<JsMsg> {
  const { js, jsm } = parts;
  let name: string | undefined;
  try {
    const info = await jsm.consumers.add(stream, {
      ack_policy: AckPolicy.None,
      ...(after === undefined
        ? { deliver_policy: DeliverPolicy.LastPerSubject }
        : { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: after + 1 }),
      filter_subject: filter,
      headers_only: headersOnly,
      inactive_threshold: INACTIVE_NS,
      mem_storage: true,
      num_replicas: 1,
    });
    name = info.name;
    const consumer = await js.consumers.get(stream, name);
    let left = info.num_pending;
    for (let empty = 0; left > 0 && empty < EMPTY_PULLS; ) {
      const pull = { max_messages: Math.min(left, BATCH), expires: PULL_EXPIRES_MS };
      let got = 0;
      for await (const message of await consumer.fetch(pull)) {
        got += 1;
        left = message.info.pending;
        yield message;
        if (left === 0 || got === pull.max_messages) break;
      }
      if (got > 0) continue;
      empty += 1;
      left = (await consumer.info()).num_pending;
    }
    if (left > 0) throw new BerthError("broker.unavailable", `reading ${stream} stopped half way`);
  } catch (thrown) {
    throw fromNats(thrown);
  } finally {
    if (name !== undefined) await jsm.consumers.delete(stream, name).catch(() => false);
  }
}
