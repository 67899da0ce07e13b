/** Sessions on behalf of a caller: found, made, listed, removed. */

import { Session, type SessionView } from "../protocols/actors/session.ts";
import type { CreateSession, SessionSummary } from "../protocols/api.ts";
import { asBerthError, BerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import { sessionRecordSchema } from "../protocols/records.ts";
import { decideTenant, type Principal } from "./auth/principal.ts";
import { decidePattern, type RouteAction, reaches } from "./auth/scopes.ts";
import { awaitFresh } from "./fresh.ts";
import { readNewest } from "./listing.ts";
import type { Services } from "./services.ts";
import type { Caller } from "./submission.ts";
import { sessionSummary } from "./views.ts";

export function sessionRef(tenant: string, id: string): ActorRef {
  return { kind: Session.kind, tenant, key: id };
}

export class Sessions {
  readonly #services: Services;

  constructor(services: Services) {
    this.#services = services;
  }

  /** The session, if the caller sees it; what it does not see does not exist (`session.not_found`). */
  async find(
    principal: Principal,
    id: string,
    tenantNamed?: string,
    action: RouteAction = "read",
  ): Promise<SessionView> {
    const { client, clock, tuning } = this.#services;
    const look = async () => {
      const tenant = await this.#tenantOf(principal, id, tenantNamed);
      if (tenant === undefined) return undefined;
      try {
        const options = { timeoutMs: tuning.askTimeoutMs };
        return (await client.actor(Session, tenant, id).describe({}, options)).session;
      } catch (thrown) {
        const { code } = asBerthError(thrown);
        const isHidden = code === "session.deleted" && !(await this.#owned(principal, tenant, id));
        if (code === "session.not_found" || isHidden) return undefined;
        throw thrown;
      }
    };
    const view = await awaitFresh({ clock, freshMs: tuning.freshMs }, id, look);
    if (!view || !reaches(principal, "sessions", action, view)) {
      throw new BerthError("session.not_found");
    }
    return view;
  }

  /** An operator need not know whose session it is: the index does. */
  async #tenantOf(principal: Principal, id: string, named?: string): Promise<string | undefined> {
    const tenant = decideTenant(principal, named);
    if (tenant !== undefined) return tenant;
    const [key] = await this.#services.transport.buckets.keys("sessions", `*.*.${id}`);
    return key?.split(".")[0];
  }

  /** That a session was deleted is told only to those who could see it. */
  async #owned(principal: Principal, tenant: string, id: string): Promise<boolean> {
    if (principal.scope !== "user") return true;
    const key = `${tenant}.${principal.user}.${id}`;
    return (await this.#services.transport.buckets.get("sessions", key)) !== undefined;
  }

  async create(caller: Caller, order: CreateSession, id: string): Promise<SessionView> {
    const { client, config, tuning } = this.#services;
    requireAgent(config.agents, order.agent);
    const { tenant, user } = caller.principal;
    const { agent, title, metadata } = order;
    const birth = {
      user,
      agent,
      tier: caller.tier,
      ...(title === undefined ? {} : { title }),
      ...(metadata === undefined ? {} : { metadata }),
    };
    const options = { timeoutMs: tuning.askTimeoutMs };
    return (await client.actor(Session, tenant, id).create(birth, options)).session;
  }

  async list(
    principal: Principal,
    query: {
      readonly limit: number;
      readonly after?: string | undefined;
      readonly tenant?: string | undefined;
    },
  ): Promise<{ data: SessionSummary[]; next: string | null }> {
    const { buckets } = this.#services.transport;
    const pattern = decidePattern(principal, "sessions", query.tenant);
    const source = { buckets, bucket: "sessions", schema: sessionRecordSchema, pattern } as const;
    return await readNewest(source, query, (session) =>
      session.deleted ? undefined : sessionSummary(session),
    );
  }

  async remove(principal: Principal, id: string, tenantNamed?: string): Promise<void> {
    const { tenant } = await this.find(principal, id, tenantNamed, "write");
    const { client, tuning } = this.#services;
    const options = { timeoutMs: tuning.askTimeoutMs };
    await client.actor(Session, tenant, id).remove({ by: principal.user }, options);
  }
}

export function requireAgent(agents: readonly string[], agent: string): void {
  if (agents.includes(agent)) return;
  throw new BerthError("agent.unknown", `the agents are ${agents.join(", ")}`, { field: "agent" });
}
