/** The environment of an agent process: a short list, the order's own variables, and nothing of ours. */
import type { JobOrder } from "../protocols/executor.ts";
import type { Place } from "./agents/agent.ts";
import { RUN_MARKER } from "./process-tree.ts";

/** Never through the proxy: what the agent itself listens to. */
const LOCAL = "localhost,127.0.0.1,::1";

/** Taken over from the worker when set. Its own credential stands in none of them. */
const INHERITED = [
  "LANG",
  "LC_ALL",
  "TZ",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
  "NODE_EXTRA_CA_CERTS",
] as const;

export function agentEnvironment(options: {
  readonly inherited: Readonly<Record<string, string | undefined>>;
  readonly path: string;
  readonly worker: string;
  readonly order: JobOrder;
  readonly place: Place;
  readonly extra: Readonly<Record<string, string>>;
  readonly proxyUrl?: string | undefined;
}): Record<string, string> {
  const { order, place, worker, inherited } = options;
  const passed = INHERITED.flatMap((name) => {
    const value = inherited[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    LANG: "C.UTF-8",
    TERM: "dumb",
    ...Object.fromEntries(passed),
    ...order.env,
    ...options.extra,
    // Last, so that no order can change where an agent lives, how it goes out or hide its processes.
    ...proxyVariables(options.proxyUrl),
    PATH: options.path,
    HOME: place.home,
    PWD: place.work,
    TMPDIR: place.tmp,
    BERTH_JOB_ID: order.job_id,
    BERTH_SESSION_ID: order.session_id,
    ...(order.traceparent === undefined ? {} : { TRACEPARENT: order.traceparent }),
    [RUN_MARKER]: `${worker}.${order.job_id}.${order.attempt}.`,
  };
}

/** As programs look for them: some in capitals alone, curl in small letters alone, Node's own `fetch` when it is told to. */
function proxyVariables(url: string | undefined): Record<string, string> {
  if (url === undefined) return {};
  // The proxy's own host is where keys are brokered.
  const no_proxy = `${LOCAL},${new URL(url).hostname}`;
  const variables = { http_proxy: url, https_proxy: url, all_proxy: url, no_proxy };
  const capitals = Object.entries(variables).map(([name, value]) => [name.toUpperCase(), value]);
  return { ...variables, ...Object.fromEntries(capitals), NODE_USE_ENV_PROXY: "1" };
}
