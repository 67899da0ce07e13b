/** Core NATS as the `Bus` port. */
import type { NatsConnection } from "@nats-io/transport-node";
import { asBerthError } from "../../protocols/errors.ts";
import type { Bus, Incoming, Serving } from "../transport.ts";
import { fromRequest } from "./errors.ts";

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
        reply: (data) => {
          message.respond(data);
        },
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
