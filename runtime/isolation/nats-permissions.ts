/** The isolation policy as NATS permissions: a pure projection, compared with `allows` by tests. */
import { ANY_WORKER, type Channel, type Policy, type Principal } from "../../protocols/isolation.ts";

export interface NatsPermissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
  /** Whether it may answer requests that it receives. */
  readonly answers: boolean;
}

/** Subjects of a channel that belong to `owner`, which may be the wildcard `*`. */
const SUBJECTS: Record<Channel, (owner: string) => readonly string[]> = {
  uplink: (worker) => [`berth.up.${worker}.>`],
  hello: (worker) => [`berth.hello.${worker}`],
  beat: (worker) => [`berth.beat.${worker}`],
  downlink: (worker) => [`berth.down.${worker}`],
  inbox: () => ["_INBOX.>"],
  mail: () => ["berth.mail.>"],
  asks: () => ["berth.ask.>"],
  journal: () => ["berth.journal.>"],
  live: () => ["berth.live.>"],
  reminders: () => ["berth.remind.>", "berth.due.>"],
  deadLetters: () => ["berth.dead.>"],
  drivers: () => ["berth.driver.>"],
  nodes: () => ["berth.node.>"],
  buckets: () => ["$KV.>"],
  brokerApi: () => ["$JS.>", "$SRV.>"],
  system: () => ["$SYS.>"],
};

const isChannel = (kind: string): kind is Channel => Object.hasOwn(SUBJECTS, kind);

/** The inbox prefix that a principal must connect with: the default one belongs to nodes, who see all answers. */
export function inboxPrefix(principal: Principal): string {
  if (principal.kind === "node") return "_INBOX";
  const shared = `_INBOX_${principal.kind}`;
  return principal.id === ANY_WORKER ? shared : `${shared}.${principal.id}`;
}

export function natsPermissions(policy: Policy, principal: Principal): NatsPermissions {
  const granted = (action: "publish" | "subscribe") =>
    policy
      .filter((grant) => grant.principal === principal.kind && grant.action === action)
      .flatMap((grant) => {
        const owner = grant.scope === "any" ? ANY_WORKER : principal.id;
        return grant.resources.filter(isChannel).flatMap((kind) => {
          if (kind !== "inbox") return SUBJECTS[kind](owner);
          // Every answer goes to some inbox: who may publish to any reaches those of workers and gateways too.
          return grant.scope === "any"
            ? ["_INBOX.>", "_INBOX_worker.>", "_INBOX_gateway.>"]
            : [`${inboxPrefix(principal)}.>`];
        });
      });
  return {
    publish: [...new Set(granted("publish"))],
    subscribe: [...new Set(granted("subscribe"))],
    answers: policy.some(
      (grant) => grant.principal === principal.kind && grant.action === "answer",
    ),
  };
}

/** Whether a subject matches a pattern with `*` and `>`, as the broker does. */
export function matchesSubject(pattern: string, subject: string): boolean {
  const wanted = pattern.split(".");
  const tokens = subject.split(".");
  for (const [index, token] of wanted.entries()) {
    if (token === ">") return tokens.length > index;
    const actual = tokens[index];
    if (actual === undefined || (token !== "*" && token !== actual)) return false;
  }
  return tokens.length === wanted.length;
}
