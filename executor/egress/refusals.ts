/** What the proxy says when it does not connect: a status, a reason that is counted, and a sentence for people. */
import type { EgressTarget, Refusal } from "./decide-egress.ts";

interface Row {
  readonly status: number;
  readonly sentence: (host: string, port: number) => string;
  /** A rule says no; the rest is somebody's mistake or misfortune. */
  readonly isDenial?: true;
}

const ROWS = {
  malformed: { status: 400, sentence: () => "this is no request to a proxy" },
  unauthenticated: { status: 407, sentence: () => "the proxy does not know this caller" },
  starting: { status: 503, sentence: () => "the node is starting: try again" },
  no_egress: {
    status: 403,
    sentence: (host) => `${host} is not reached: workers of this tier have no way out`,
    isDenial: true,
  },
  not_listed: {
    status: 403,
    sentence: (host) => `${host} is not on the list of hosts that this tenant may reach`,
    isDenial: true,
  },
  port_not_listed: {
    status: 403,
    sentence: (host, port) => `${host} is not to be reached at port ${port}`,
    isDenial: true,
  },
  address: {
    status: 403,
    sentence: (host) => `${host} is an address: hosts are reached by their names`,
    isDenial: true,
  },
  not_public: {
    status: 403,
    sentence: (host) => `${host} leads to an address that is not public`,
    isDenial: true,
  },
  // Not 407: it is asked as a host, and fetch takes that for a broken network.
  unknown_placeholder: {
    status: 401,
    sentence: () => "nobody made this placeholder for a job that runs here",
  },
  no_such_provider: { status: 404, sentence: () => "no key of this provider is brokered" },
  path_not_listed: {
    status: 403,
    sentence: (host) => `${host} is not asked for this with a brokered key`,
    isDenial: true,
  },
  no_key: { status: 401, sentence: () => "the user has stored no key of this provider" },
  key_unavailable: { status: 503, sentence: () => "the user's key cannot be had now" },
  unresolved: { status: 502, sentence: (host) => `${host} has no address` },
  unreachable: { status: 504, sentence: (host) => `${host} does not answer` },
} satisfies Record<
  | Refusal
  | "malformed"
  | "unauthenticated"
  | "starting"
  | "unknown_placeholder"
  | "no_such_provider"
  | "path_not_listed"
  | "no_key"
  | "key_unavailable"
  | "unresolved"
  | "unreachable",
  Row
>;
export type RefusalReason = keyof typeof ROWS;

export interface Refused {
  readonly status: number;
  readonly reason: RefusalReason;
  readonly sentence: string;
  readonly isDenial: boolean;
}

export function refusal(reason: RefusalReason, target?: EgressTarget): Refused {
  const row: Row = ROWS[reason];
  const sentence = row.sentence(target?.host ?? "", target?.port ?? 0);
  return { status: row.status, reason, sentence, isDenial: row.isDenial === true };
}
