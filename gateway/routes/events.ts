/**
 * Events of a session or a job: a stream by `Accept: text/event-stream`, else a page.
 *
 * A stream of a session without a cursor starts at the newest event; every other reading starts at the
 * beginning (`after=0`). `Last-Event-ID`, which browsers send by themselves, goes before `after`.
 */
import type { FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import {
  eventPageSchema,
  eventsQuerySchema,
  formatTime,
  jobParamsSchema,
  MAX_EVENT_PAGE,
  sessionParamsSchema,
} from "../../protocols/api.ts";
import { BerthError } from "../../protocols/errors.ts";
import { endsJob } from "../../protocols/events.ts";
import type { ActorRef } from "../../protocols/ids.ts";
import { isTerminal } from "../../protocols/job.ts";
import { prefersStream } from "../accept.ts";
import { tierOf } from "../admission.ts";
import type { Jobs } from "../jobs.ts";
import { type EncodedEvent, gapEvent } from "../reader/encoded-event.ts";
import { Journal, locateJob, readPage } from "../reader/journal.ts";
import { decideGap } from "../reader/splice.ts";
import type { Services } from "../services.ts";
import { type Sessions, sessionRef } from "../sessions.ts";
import { decideShow, streamEvents } from "../sse.ts";
import { type App, principalOf } from "./app.ts";
import { problems, tagged } from "./openapi.ts";

type EventsQuery = z.infer<typeof eventsQuerySchema>;

const answers = {
  200: {
    description: "A page; with Accept: text/event-stream, the events as they come",
    content: {
      "application/json": { schema: eventPageSchema },
      "text/event-stream": { schema: z.string() },
    },
  },
  204: z
    .undefined()
    .describe("The job is over and the cursor is at its end: no need to connect again"),
  ...problems,
};

export function eventRoutes(
  app: App,
  services: Services,
  { jobs, sessions }: { readonly jobs: Jobs; readonly sessions: Sessions },
): void {
  const { records } = services.transport;

  app.get(
    "/v1/sessions/:id/events",
    {
      schema: {
        ...tagged("events", "readSessionEvents", "Read a session's events"),
        params: sessionParamsSchema,
        querystring: eventsQuerySchema,
        response: answers,
      },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { params, query } = request;
      const session = await sessions.find(principal, params.id, query.tenant);
      const ref = sessionRef(session.tenant, session.id);
      const cursor = cursorOf(request, query);
      if (!wantsStream(request)) return sendPage(services, reply, ref, cursor ?? 0, query);
      checkStreams(services);
      const reader = { principal, tier: await tierOf(services, principal) };
      const after = cursor ?? (await new Journal(ref, records).newest()).lastSeq;
      return streamEvents(services, request, reply, reader, { ref, after });
    },
  );

  app.get(
    "/v1/jobs/:id/events",
    {
      schema: {
        ...tagged("events", "readJobEvents", "Read a job's events"),
        params: jobParamsSchema,
        querystring: eventsQuerySchema,
        response: answers,
      },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { params, query } = request;
      const record = await jobs.record(principal, params.id, query.tenant);
      const ref = sessionRef(record.tenant, record.session_id);
      const journal = new Journal(ref, records);
      const start = await locateJob(journal, records, ref, record.created_at);
      const cursor = cursorOf(request, query);
      const after = cursor ?? start;
      const jobId = params.id;
      if (!wantsStream(request)) return sendPage(services, reply, ref, after, query, jobId);
      checkStreams(services);
      const reader = { principal, tier: await tierOf(services, principal) };
      // The record may say later than the log that the job is over.
      const isOver =
        isTerminal(record.state) ||
        (cursor !== undefined &&
          !(await jobs.isLive(record)) &&
          (await someEvent(journal, start, (event) => event.job_id === jobId && endsJob(event))));
      if (!isOver) return streamEvents(services, request, reply, reader, { ref, after, jobId });
      const until = (await journal.newest()).lastSeq;
      if (await someEvent(journal, after, (event) => event.job_id === jobId)) {
        return streamEvents(services, request, reply, reader, { ref, after, jobId, until });
      }
      return reply.code(204).send();
    },
  );
}

/** HEAD is answered as a page: a stream would have no end. */
function wantsStream({ headers, method }: FastifyRequest): boolean {
  return method !== "HEAD" && prefersStream(headers.accept);
}

/** Throws `request.invalid` for a `Last-Event-ID` that is not one of ours. */
function cursorOf(request: FastifyRequest, query: EventsQuery): number | undefined {
  const last = request.headers["last-event-id"];
  if (typeof last !== "string" || last === "") return query.after;
  if (/^\d{1,15}$/.test(last)) return Number(last);
  throw new BerthError("request.invalid", "Last-Event-ID is not a seq", { field: "last-event-id" });
}

function checkStreams({ drain, tuning }: Services): void {
  if (drain.draining) throw new BerthError("node.draining");
  if (drain.streams < tuning.maxStreams) return;
  throw new BerthError("request.rate_limited", "this gateway holds as many streams as it may", {
    retryAfterMs: 5_000,
  });
}

/** Whether the log has such an event after the cursor. */
async function someEvent(
  journal: Journal,
  after: number,
  is: (event: EncodedEvent) => boolean,
): Promise<boolean> {
  let cursor = after;
  for (;;) {
    const page = await readPage(journal, cursor, MAX_EVENT_PAGE);
    if (page.events.some(is)) return true;
    if (!page.hasMore) return false;
    cursor = page.events.at(-1)?.seq ?? cursor;
  }
}

async function sendPage(
  services: Services,
  reply: FastifyReply,
  ref: ActorRef,
  after: number,
  query: EventsQuery,
  jobId?: string,
): Promise<FastifyReply> {
  const limit = query.limit ?? MAX_EVENT_PAGE;
  const journal = new Journal(ref, services.transport.records);
  const { events, hasMore } = await readPage(journal, after, limit);
  const first = events[0];
  const gap = first && decideGap(after, first.seq);
  const time = formatTime(services.clock.now());
  const shown: EncodedEvent[] = gap ? [gapEvent(ref.key, gap.oldest, time)] : [];
  let ended = false;
  let cursor = after;
  for (const event of events) {
    cursor = event.seq;
    const decision = decideShow(jobId === undefined ? {} : { jobId }, event);
    if (decision.show) shown.push(event);
    ended = decision.end;
    if (ended) break;
  }
  const data = shown.map(({ json }) => json.toString()).join(",");
  return reply
    .header("content-type", "application/json; charset=utf-8")
    .serializer((text: unknown) => String(text))
    .send(`{"data":[${data}],"cursor":${cursor},"has_more":${hasMore && !ended}}`);
}
