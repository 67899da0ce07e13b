/** Core NATS as the `Bus` port. */
import type { NatsConnection } from "@nats-io/transport-node";
import { asBerthError, BerthError } from "../../protocols/errors.ts";
import { encodeError } from "../batch.ts";
import type { Bus, Incoming, Serving } from "../transport.ts";
import { fromNats } from "./errors.ts";
import type { Requests } from "./requests.ts";
import type { Sender } from "./sender.ts";

interface Collaborators {
  readonly connection: NatsConnection;
  readonly requests: Requests;
  readonly sender: Sender;
}

export function natsBus(parts: Collaborators): Bus {
  const { requests, sender } = parts;
  return {
    // An answer may still come when the connection is back.
    request: (subject, data, timeoutMs, late, again) =>
      requests.request(subject, data, { timeoutMs, isBound: false, late, again }),
    publish: (subject, data) => sender.send({ subject, data, failed: () => {} }),
    serve: (subject, queue, handle) => serve(parts, subject, queue, handle),
  };
}

function serve(
  { connection, sender }: Collaborators,
  subject: string,
  queue: string | undefined,
  handle: (request: Incoming) => void,
): Serving {
  const subscription = connection.subscribe(subject, {
    ...(queue === undefined ? {} : { queue }),
    callback: (error, message) => {
      if (error) return;
      const { reply } = message;
      const respond = (data: Uint8Array) => reply && answer(sender, reply, data);
      try {
        handle({ subject: message.subject, data: message.data, reply: respond });
      } catch (thrown) {
        // A mistake of ours in one handler must not take the connection of all others with it.
        respond(encodeError(asBerthError(thrown)));
      }
    },
  });
  return {
    ready: connection.flush(),
    close: async () => {
      if (subscription.isClosed() || connection.isClosed()) return;
      await subscription.drain();
    },
  };
}

/** An answer that cannot be sent is one that nobody waits for: the asker's own deadline ends its wait. */
function answer(sender: Sender, subject: string, data: Uint8Array): void {
  const failed = (thrown: unknown) => {
    if (fromNats(thrown).code !== "actor.state_too_large") return;
    const error = new BerthError("request.too_large", "The answer is too large");
    sender.send({ subject, data: encodeError(error), failed: () => {} });
  };
  sender.send({ subject, data, failed });
}
