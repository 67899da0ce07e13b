/** Core NATS as the `Bus` port. */
import type { Msg, NatsConnection } from "@nats-io/transport-node";
import { asBerthError, BerthError } from "../../protocols/errors.ts";
import { encodeError } from "../batch.ts";
import type { Bus, Incoming, Serving } from "../transport.ts";
import { fromNats, fromRequest } from "./errors.ts";

export function natsBus(nc: NatsConnection): Bus {
  return {
    async request(subject, data, timeoutMs) {
      try {
        const answer = await nc.request(subject, data, { timeout: timeoutMs });
        return answer.data;
      } catch (thrown) {
        throw fromRequest(thrown);
      }
    },
    publish(subject, data) {
      try {
        nc.publish(subject, data);
      } catch (thrown) {
        throw asBerthError(thrown, "broker.unavailable");
      }
    },
    serve: (subject, queue, handle) => serve(nc, subject, queue, handle),
  };
}

function serve(
  nc: NatsConnection,
  subject: string,
  queue: string | undefined,
  handle: (request: Incoming) => void,
): Serving {
  const subscription = nc.subscribe(subject, {
    ...(queue === undefined ? {} : { queue }),
    callback: (error, message) => {
      if (error) return;
      handle({
        subject: message.subject,
        data: message.data,
        reply: (data) => respond(message, data),
      });
    },
  });
  return {
    ready: nc.flush(),
    close: async () => {
      if (subscription.isClosed() || nc.isClosed()) return;
      await subscription.drain();
    },
  };
}

/** An answer that cannot be sent is one that nobody waits for: the asker's own deadline ends its wait. */
function respond(message: Msg, data: Uint8Array): void {
  try {
    message.respond(data);
  } catch (thrown) {
    if (fromNats(thrown).code !== "actor.state_too_large") return;
    message.respond(encodeError(new BerthError("request.too_large", "The answer is too large")));
  }
}
