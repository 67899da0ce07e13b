/** The isolation policy as NATS permissions: a pure projection, compared with `allows` by tests. */
import {
  ANY_ONE,
  CHANNELS,
  type Channel,
  type Grant,
  type Policy,
  type Principal,
} from "../../protocols/isolation.ts";
import { storeSubjects } from "./store-subjects.ts";

export interface NatsPermissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
  /** Whether it may answer requests that it receives. */
  readonly answers: boolean;
}

/** Subjects of a channel that belong to one owner, or to all when there is none. */
const SUBJECTS: Record<Channel, (owner: Principal | undefined) => readonly string[]> = {
  uplink: (owner) => [`berth.up.${token(owner)}.>`],
  hello: (owner) => [`berth.hello.${token(owner)}`],
  beat: (owner) => [`berth.beat.${token(owner)}`],
  downlink: (owner) => [`berth.down.${token(owner)}`],
  inbox: (owner) =>
    owner === undefined
      ? ["_INBOX.>", "_INBOX_node.>", "_INBOX_gateway.>", "_INBOX_worker.>"]
      : [`${inboxPrefix(owner)}.>`],
  mail: () => ["berth.mail.>"],
  asks: () => ["berth.ask.>", "berth.inspect.>"],
  journal: () => ["berth.journal.>"],
  live: () => ["berth.live.>"],
  reminders: () => ["berth.remind.>", "berth.due.>"],
  deadLetters: () => ["berth.dead.>"],
  audit: () => ["berth.audit.>"],
  drivers: () => ["berth.driver.>"],
  nodes: () => ["berth.node.>", "berth.pulse.>"],
  vault: () => ["berth.vault.>"],
  accounts: () => ["berth.accounts.>"],
  services: () => ["$SRV.>"],
  brokerInfo: () => ["$JS.API.INFO"],
  system: () => ["$SYS.>"],
};

/** All nodes' own. Workers answer there, from other accounts; `_INBOX` is what people's tools use. */
export const NODE_INBOX = "_INBOX_node";

const INBOX_NAMES: Partial<Record<Principal["kind"], string>> = {
  node: NODE_INBOX,
  container: "_INBOX_worker",
};

const token = (owner: Principal | undefined) => owner?.id ?? ANY_ONE;
const isChannel = (kind: string): kind is Channel => CHANNELS.some((channel) => channel === kind);

/** The prefix a principal must connect with, so that nobody else can listen to the answers it gets. */
export function inboxPrefix({ kind, id }: Principal): string {
  const name = INBOX_NAMES[kind] ?? `_INBOX_${kind}`;
  return kind === "node" || id === ANY_ONE ? name : `${name}.${id}`;
}

export function natsPermissions(policy: Policy, principal: Principal): NatsPermissions {
  const own = policy.filter((grant) => grant.principal === principal.kind);
  const channels = (grant: Grant) =>
    grant.resources
      .filter(isChannel)
      .flatMap((kind) => SUBJECTS[kind](grant.scope === "own" ? principal : undefined));
  const publish = own.flatMap((grant) =>
    grant.action === "publish" ? channels(grant) : storeSubjects(grant),
  );
  const subscribe = own.filter(({ action }) => action === "subscribe").flatMap(channels);
  return {
    publish: [...new Set(publish)],
    subscribe: [...new Set(subscribe)],
    answers: own.some((grant) => grant.action === "answer"),
  };
}

/** Whether a subject matches a pattern with `*` and `>`, as the broker does. */
export function matchesSubject(pattern: string, subject: string): boolean {
  const wanted = pattern.split(".");
  const tokens = subject.split(".");
  for (const [index, part] of wanted.entries()) {
    if (part === ">") return tokens.length > index;
    const actual = tokens[index];
    if (actual === undefined || (part !== "*" && part !== actual)) return false;
  }
  return tokens.length === wanted.length;
}
