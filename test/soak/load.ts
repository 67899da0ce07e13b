/** Users who submit jobs all the time, and the account of what became of each. */
import { BerthClient } from "../../gateway/client.ts";
import { endsJob, type SessionEvent } from "../../protocols/events.ts";
import type { Random } from "../chaos/random.ts";
import type { DockerBerth } from "../support/docker-berth.ts";
import { eventually } from "../support/eventually.ts";

const USERS = 3;
const EVERY_MS = 400;
const LONGEST_JOB_S = 2;
/** From the end of the load until every accepted job has ended: more than any grace of a lost worker. */
const ENDS_MS = 180_000;
const PATIENCE_MS = 90_000;
const READERS = 8;

export interface Accepted {
  readonly id: string;
  readonly session: string;
  readonly mark: string;
  readonly client: BerthClient;
}

export async function usersOf(host: DockerBerth): Promise<BerthClient[]> {
  const { keys, url } = await host.berth.dev();
  const client = (key: string) => new BerthClient({ url, key, patienceMs: PATIENCE_MS });
  const users = [client(keys.free), client(keys.pro)];
  for (let n = 1; n <= USERS; n += 1) {
    const response = await fetch(`${url}/v1/tenants/dev-pro/keys`, {
      method: "POST",
      headers: { authorization: `Bearer ${keys.operator}`, "content-type": "application/json" },
      body: JSON.stringify({ name: `soak ${n}`, user: `soak-${n}`, scope: "user" }),
    });
    users.push(client(((await response.json()) as { readonly key: string }).key));
  }
  return users;
}

/** Submits until the signal; resolves with all that were accepted. A submission that is refused for a full queue is none. */
export async function keepSubmitting(
  users: readonly BerthClient[],
  random: Random,
  pause: (ms: number) => Promise<void>,
  signal: AbortSignal,
): Promise<Accepted[]> {
  const accepted: Accepted[] = [];
  const under: Promise<void>[] = [];
  for (let n = 0; !signal.aborted; n += 1) {
    const client = random.pick(users);
    const mark = `mark-${n}`;
    const prompt = `echo ${mark}; sleep ${(random.next() * LONGEST_JOB_S).toFixed(2)}`;
    under.push(
      client.submit({ agent: "shell", prompt }).then(
        ({ id, session_id }) => void accepted.push({ id, session: session_id, mark, client }),
        () => undefined, // Nothing was accepted, so nothing is owed.
      ),
    );
    await pause(EVERY_MS);
  }
  await Promise.all(under);
  return accepted;
}

export interface Account {
  readonly ends: Readonly<Record<string, number>>;
  readonly broken: readonly string[];
}

/** Waits until every job has ended, and reads each one's events from the first. */
export async function settle(accepted: readonly Accepted[]): Promise<Account> {
  const ends: Record<string, number> = {};
  const broken: string[] = [];
  const account = async (job: Accepted) => {
    try {
      const events = await eventsOf(job);
      const last = events.filter(endsJob);
      const type = last[0]?.type ?? "none";
      ends[type] = (ends[type] ?? 0) + 1;
      broken.push(...judge(job, events, last));
    } catch (thrown) {
      broken.push(`${job.id} did not end: ${String(thrown)}`);
    }
  };
  const waiting = [...accepted];
  const read = async () => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) await account(job);
  };
  await Promise.all(Array.from({ length: READERS }, read));
  return { ends, broken };
}

function judge(
  { id, mark }: Accepted,
  events: readonly SessionEvent[],
  last: readonly SessionEvent[],
): string[] {
  const said = events
    .filter(({ type }) => type === "agent.output")
    .map(({ data }) => String(data["text"]))
    .join("");
  const type = last[0]?.type;
  return [
    ...(last.length === 1 ? [] : [`${id} ended ${last.length} times`]),
    ...(type === "job.succeeded" || type === "job.interrupted" ? [] : [`${id}: ${type}`]),
    ...(type === "job.succeeded" && said !== `${mark}\n` ? [`${id} said ${said}`] : []),
  ];
}

async function eventsOf({ client, id, session }: Accepted): Promise<SessionEvent[]> {
  await eventually(async () => (await client.job(id)).finished_at !== null, {
    within: ENDS_MS,
    name: "it ends",
  });
  // In pages: whoever follows a stream counts as attached, and keeps the worker from going idle.
  const events: SessionEvent[] = [];
  for (let after = 0; ; ) {
    const page = await client.eventPage(session, after);
    events.push(...page.data.filter(({ job_id }) => job_id === id));
    if (!page.has_more) return events;
    after = page.cursor;
  }
}
