/** What operators, accounts and users of a nats-server may, as claims for `signClaims`. */
import type { Claims } from "./jwt.ts";

const VERSION = 2;
const UNLIMITED = -1;

/** Subjects and limits of a user, or of all whose tokens a scoped key signs. */
export interface UserRights {
  /** Undefined: everything. */
  readonly publish?: readonly string[];
  readonly subscribe?: readonly string[];
  /** May answer each request that it receives, so often and for so long. */
  readonly answers?: { readonly max: number; readonly withinMs: number };
  readonly subscriptions?: number;
  readonly payloadBytes?: number;
  readonly connectionTypes?: readonly string[];
}

export interface AccountClaims {
  readonly publicKey: string;
  readonly name: string;
  readonly limits: {
    readonly connections?: number;
    readonly subscriptions?: number;
    readonly payloadBytes?: number;
    /** Whether it may store anything in the broker. */
    readonly jetstream: boolean;
    /** Whether a server of its own may join it as a leaf. */
    readonly leaves?: boolean;
  };
  /** Keys that sign users of any rights. */
  readonly signingKeys: readonly string[];
  /** Keys whose users have these rights, whatever their tokens say. */
  readonly scopedKeys?: readonly {
    readonly publicKey: string;
    readonly role: string;
    readonly rights: UserRights;
  }[];
  readonly exports?: readonly Share[];
  readonly imports?: readonly (Share & { readonly account: string })[];
  /** Users whose tokens count no more, if issued at or before that second. */
  readonly revocations?: Readonly<Record<string, number>>;
  readonly tags?: readonly string[];
}

/** Subjects that one account serves (`service`) or publishes (`stream`) for others. */
export interface Share {
  readonly kind: "service" | "stream";
  readonly subject: string;
}

export function operatorClaims(options: {
  readonly publicKey: string;
  readonly signingKeys: readonly string[];
  readonly systemAccount: string;
}): Claims {
  return {
    sub: options.publicKey,
    name: "berth",
    nats: {
      signing_keys: options.signingKeys,
      system_account: options.systemAccount,
      type: "operator",
      version: VERSION,
    },
  };
}

export function accountClaims(options: AccountClaims): Claims {
  const { limits } = options;
  const stored = limits.jetstream ? UNLIMITED : 0;
  return {
    sub: options.publicKey,
    name: options.name,
    nats: {
      imports: (options.imports ?? []).map(({ kind, subject, account }) => ({
        ...{ name: subject, subject, account, type: kind },
        // Of a stream `to` would be a prefix; a service must say where it is called.
        ...(kind === "service" ? { local_subject: subject } : {}),
      })),
      exports: (options.exports ?? []).map(({ kind, subject }) => ({
        ...{ name: subject, subject, type: kind },
        ...(kind === "service" ? { response_type: "Singleton" } : {}),
      })),
      limits: {
        conn: limits.connections ?? UNLIMITED,
        subs: limits.subscriptions ?? UNLIMITED,
        payload: limits.payloadBytes ?? UNLIMITED,
        data: UNLIMITED,
        imports: UNLIMITED,
        exports: UNLIMITED,
        leaf: limits.leaves === true ? UNLIMITED : 0,
        wildcards: true,
        mem_storage: stored,
        disk_storage: stored,
        streams: stored,
        consumer: stored,
      },
      signing_keys: [
        ...options.signingKeys,
        ...(options.scopedKeys ?? []).map(({ publicKey, role, rights }) => ({
          kind: "user_scope",
          key: publicKey,
          role,
          template: rightsOf(rights),
        })),
      ],
      revocations: options.revocations ?? {},
      default_permissions: { pub: {}, sub: {} },
      ...(options.tags ? { tags: options.tags } : {}),
      type: "account",
      version: VERSION,
    },
  };
}

/** `rights` is undefined for a user of a scoped key: its token may name none. */
export function userClaims(options: {
  readonly publicKey: string;
  readonly name: string;
  readonly account: string;
  readonly rights: UserRights | undefined;
  /** Seconds since the epoch. */
  readonly expires?: number;
}): Claims {
  const { rights } = options;
  return {
    sub: options.publicKey,
    name: options.name,
    ...(options.expires === undefined ? {} : { exp: options.expires }),
    nats: {
      ...(rights === undefined ? { pub: {}, sub: {} } : rightsOf(rights)),
      issuer_account: options.account,
      type: "user",
      version: VERSION,
    },
  };
}

function rightsOf(rights: UserRights): Record<string, unknown> {
  const allow = (subjects: readonly string[] | undefined) =>
    subjects === undefined ? {} : { allow: subjects };
  const { answers } = rights;
  return {
    pub: allow(rights.publish),
    sub: allow(rights.subscribe),
    ...(answers ? { resp: { max: answers.max, ttl: answers.withinMs * 1_000_000 } } : {}),
    subs: rights.subscriptions ?? UNLIMITED,
    payload: rights.payloadBytes ?? UNLIMITED,
    data: UNLIMITED,
    ...(rights.connectionTypes ? { allowed_connection_types: rights.connectionTypes } : {}),
  };
}
