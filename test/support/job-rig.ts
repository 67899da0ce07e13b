/** Jobs on a node with all actors over the memory broker: how they are given, followed and read. */
import { expect } from "vitest";
import { PLACES, placeOf } from "../../protocols/actors/place.ts";
import { Session } from "../../protocols/actors/session.ts";
import { User } from "../../protocols/actors/user.ts";
import type { SessionEvent } from "../../protocols/events.ts";
import { isTerminal, type JobRecord, jobKey } from "../../protocols/job.ts";
import type { Tier, TierTable } from "../../protocols/tiers.ts";
import type { Client } from "../../runtime/client.ts";
import type { MemoryBroker } from "../../runtime/memory/broker.ts";
import { connectMemory } from "../../runtime/memory/transport.ts";
import { decodePage } from "../../runtime/record.ts";
import type { Transport } from "../../runtime/transport.ts";
import { eventually } from "./eventually.ts";

export class JobRig {
  readonly broker: MemoryBroker;
  readonly transport: Transport;
  readonly client: Client;
  readonly tiers: TierTable;
  #count = 0;

  constructor(client: Client, broker: MemoryBroker, tiers: TierTable) {
    this.client = client;
    this.broker = broker;
    this.transport = connectMemory(broker);
    this.tiers = tiers;
  }

  id(prefix: string): string {
    this.#count += 1;
    return `${prefix}_${String(this.#count).padStart(26, "0")}`;
  }

  async submit(
    prompt: string,
    more: { tier?: Tier; user?: string; session?: string; id?: string } = {},
  ): Promise<{ job: string; session: string; user: string; tier: Tier }> {
    const { tier = "pro", user = "ann", session = this.id("ses"), id: job = this.id("job") } = more;
    await this.client.actor(User, "acme", user).submit({
      job: { id: job, session_id: session, agent: "echo", tier, prompt, timeout_ms: null },
      new_session: {},
    });
    return { job, session, user, tier };
  }

  async record(job: { job: string; user: string }): Promise<JobRecord | undefined> {
    const entry = await this.transport.buckets.get("jobs", jobKey("acme", job.user, job.job));
    return entry?.value && (JSON.parse(new TextDecoder().decode(entry.value)) as JobRecord);
  }

  ended(job: { job: string; user: string }): Promise<JobRecord> {
    return eventually(
      async () => {
        const record = await this.record(job);
        return record && isTerminal(record.state) ? record : (false as const);
      },
      { name: `${job.job} has ended` },
    );
  }

  reaches(
    job: { job: string; session: string },
    state: string,
  ): Promise<{ worker: string | null }> {
    return eventually(
      async () => {
        const { job: live } = await this.session(job.session).liveJob({ job_id: job.job });
        return live?.state === state ? live : (false as const);
      },
      { name: `${job.job} is ${state}` },
    );
  }

  session(id: string) {
    return this.client.actor(Session, "acme", id);
  }

  user(id = "ann") {
    return this.client.actor(User, "acme", id);
  }

  cancel(job: { job: string; user: string }) {
    return this.user(job.user).cancelJob({ job_id: job.job, by: "ann" });
  }

  place(tier: Tier) {
    const ref = placeOf(this.tiers, { tier, tenant: "acme", user: "ann", agent: "echo" });
    return this.client.actor(PLACES[ref.kind as keyof typeof PLACES], ref.tenant, ref.key);
  }

  async view(tier: Tier) {
    return (await this.place(tier).view({})).place;
  }

  async events(session: string): Promise<SessionEvent[]> {
    const ref = { kind: "session", tenant: "acme", key: session };
    const pages = await this.transport.records.journal(ref, 0, 1_000);
    const events = pages.flatMap((page) => decodePage(page.data).events);
    expect(events.map((event) => event.seq)).toEqual(events.map((_, at) => at + 1));
    return events;
  }

  async types(session: string): Promise<string[]> {
    return (await this.events(session)).map((event) => event.type);
  }

  /** Every slot, seat and list is empty again: nothing leaked on the way. */
  async settled(tier: Tier, user = "ann"): Promise<void> {
    await eventually(
      async () => {
        const { jobs } = await this.user(user).active({});
        const { queued, workers } = await this.view(tier);
        return (
          jobs.length === 0 && queued === 0 && workers.every((worker) => worker.jobs.length === 0)
        );
      },
      { name: `${tier} has settled` },
    );
  }

  async close(): Promise<void> {
    await this.transport.close();
    expect(this.broker.deadLetters).toEqual([]);
  }
}
