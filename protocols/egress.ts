/**
 * Which hosts outside agents may talk to, as data: a tier's list and what a tenant has beside it. The proxy that a worker's
 * network leads to judges every connection by it.
 */
import { z } from "zod";

/** `none`: nowhere. `listed`: to hosts of the list. `any`: also to every other name that leads to a public address. */
export const EGRESS_MODES = ["none", "listed", "any"] as const;
export const egressModeSchema = z.enum(EGRESS_MODES);
export type EgressMode = z.infer<typeof egressModeSchema>;

export const EGRESS_PORTS: readonly number[] = [443, 80];

/** Hosts that have one name in a list, each for what it says. */
export const EGRESS_GROUPS = {
  /** APIs of models, and where their command line tools renew a login. */
  "@models": [
    "api.anthropic.com",
    "console.anthropic.com",
    "platform.claude.com",
    "api.openai.com",
    "auth.openai.com",
    "chatgpt.com",
  ],
  /** Where npm, pip, cargo and go fetch packages. */
  "@packages": [
    "registry.npmjs.org",
    "pypi.org",
    "files.pythonhosted.org",
    "index.crates.io",
    "static.crates.io",
    "proxy.golang.org",
    "sum.golang.org",
  ],
  /** Where sources are fetched from, and may be sent to: in no list by itself. */
  "@github": ["github.com", "api.github.com", "codeload.github.com", "*.githubusercontent.com"],
} as const satisfies Readonly<Record<string, readonly string[]>>;

/** A name, `*.` before it for every name below it, or an address as the connection itself says it. */
const HOST = /^(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/;
const ADDRESS_OF_IPV6 = /^[0-9a-f:]*:[0-9a-f:.]*$/;
const hostNameSchema = z
  .string()
  .max(255)
  .toLowerCase()
  .refine(
    (text) => HOST.test(text) || ADDRESS_OF_IPV6.test(text),
    'a host such as "api.example.com" or "*.example.com"',
  );

export const egressHostSchema = z.strictObject({
  host: hostNameSchema,
  ports: z
    .array(z.number().int().min(1).max(65_535))
    .min(1)
    .max(16)
    .default([...EGRESS_PORTS]),
  /** Also where the name leads to a private address or to the node's own host: a registry of the house. */
  allow_private: z.boolean().default(false),
});
export type EgressHost = z.infer<typeof egressHostSchema>;

const MOST_HOSTS = 256;

/** In a list a string may stand for a host, a host with its port, or a group. What comes out is a list of hosts. */
export const egressListSchema = z
  .array(z.union([z.string().max(262), egressHostSchema]))
  .max(MOST_HOSTS)
  .transform((entries, context) =>
    entries.flatMap((entry) => {
      if (typeof entry !== "string") return [entry];
      const hosts = hostsNamed(entry).map((host) => egressHostSchema.safeParse(host));
      return hosts.flatMap(({ data, error }) => {
        if (data !== undefined) return [data];
        const message = `${entry}: ${error?.issues[0]?.message ?? "is no host"}`;
        context.addIssue({ code: "custom", message });
        return [];
      });
    }),
  );

function hostsNamed(text: string): { readonly host: string; readonly ports?: readonly number[] }[] {
  if (Object.hasOwn(EGRESS_GROUPS, text))
    return EGRESS_GROUPS[text as keyof typeof EGRESS_GROUPS].map((host) => ({ host }));
  const [, host = text, port] = /^([^:]+):(\d+)$/.exec(text) ?? [];
  return [port === undefined ? { host } : { host, ports: [Number(port)] }];
}

/** What one worker's connections are judged by. */
export interface EgressPolicy {
  readonly mode: EgressMode;
  readonly hosts: readonly EgressHost[];
}

export const NO_EGRESS: EgressPolicy = { mode: "none", hosts: [] };
