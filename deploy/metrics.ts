/** Every metric that Berth exports, in one table, on prom-client. Names of the first group are a contract. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { BerthError } from "../protocols/errors.ts";
import type { Labels, Metrics } from "../runtime/metrics.ts";

interface CounterRow {
  readonly type: "counter" | "gauge";
  readonly help: string;
  readonly labels: readonly string[];
  /** Series that are there from the start, at 0: of one that begins with its first event nobody sees that it grew. */
  readonly series?: readonly Labels[];
}
interface HistogramRow {
  readonly type: "histogram";
  readonly help: string;
  readonly labels: readonly string[];
  readonly buckets: readonly number[];
}
type MetricRow = CounterRow | HistogramRow;

const FAST = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
const counter = (help: string, ...labels: string[]): MetricRow => ({
  type: "counter",
  help,
  labels,
});
/** Has one label, whose values are few and known. */
const counterBy = (help: string, label: string, ...values: string[]): MetricRow => ({
  type: "counter",
  help,
  labels: [label],
  series: values.map((value) => ({ [label]: value })),
});
const gauge = (help: string, ...labels: string[]): MetricRow => ({ type: "gauge", help, labels });
const histogram = (help: string, buckets: readonly number[], ...labels: string[]): MetricRow => ({
  type: "histogram",
  help,
  labels,
  buckets,
});

export const METRICS: Readonly<Record<string, MetricRow>> = {
  berth_jobs_total: counter("Jobs that ended", "tier", "status", "agent_type"),
  berth_job_duration_seconds: histogram(
    "From the start of the agent to the end of the job",
    [1, 5, 10, 30, 60, 120, 300, 600],
    "tier",
    "agent_type",
  ),
  berth_workers_active: gauge("Workers that are up", "tier"),
  berth_worker_utilization: gauge("Share of workers that run a job, 0 to 1", "tier"),
  berth_queue_depth: gauge("Jobs that wait", "tier"),
  berth_queue_wait_seconds: histogram(
    "From acceptance to a worker",
    [0.1, 0.5, 1, 5, 10, 30, 60],
    "tier",
  ),

  berth_worker_starts_total: counter(
    "Workers whose start ended on this node, by whether a dormant one was claimed",
    "tier",
    "kind",
    "outcome",
  ),
  berth_worker_start_seconds: histogram(
    "From a host's order to start a worker until the worker was heard",
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
    "tier",
    "kind",
  ),
  berth_worker_exits_total: counter("Workers of this node that nobody had stopped", "tier", "code"),
  berth_workers_dormant: gauge("Workers of this node that are paused and nobody's yet", "tier"),
  berth_worker_memory_bytes: gauge("Memory of this node's workers together", "tier"),
  berth_worker_cpu_seconds_total: counter("CPU time of this node's workers together", "tier"),

  berth_egress_open_connections: gauge("Connections of this node's workers to the proxy"),
  berth_egress_connections_total: counter(
    "Connections that workers asked the proxy for, by what became of them",
    "decision",
    "tier",
  ),

  berth_turns_total: counter("Messages handled", "kind"),
  berth_turn_seconds: histogram(
    "From a handler's start to its answer, commit and outbox included; turns of one commit count once",
    FAST,
    "kind",
  ),
  berth_ask_seconds: histogram(
    "From an ask to its answer as its caller sees it, all tries and failures included",
    FAST,
    "kind",
  ),
  berth_turn_failures_total: counter("Handlers that threw, by what was done", "kind", "action"),
  berth_commit_seconds: histogram("From a commit's publish to its acknowledgement", FAST),
  berth_commit_conflicts_total: counter("Commits refused because another wrote first", "kind"),
  berth_fences_total: counter("Partitions given up because a later epoch had written"),
  berth_redeliveries_total: counter("Messages delivered more than once", "kind"),
  berth_dead_letters_total: counter("Messages that could not be handled", "kind"),
  berth_activations: gauge("Actors in memory"),
  berth_mailbox_depth: gauge("Messages that have reached the node and wait"),
  berth_lobby_waiting: gauge("Actors with mail that wait to be started"),
  berth_mailbox_bytes: gauge("Bytes of waiting messages in memory"),
  berth_mailbox_sequences: gauge("Of the messages that wait, those whose bodies are in the broker"),
  berth_mailbox_depth_max: gauge("Messages that wait in the actor that has most of them"),
  berth_outbox_backlog: gauge("Entries committed and not stored by their receivers yet"),
  berth_activations_total: counter("Actors loaded", "kind"),
  berth_passivations_total: counter("Idle actors that left memory", "kind"),
  berth_partitions_held: gauge("Partitions that this node owns"),
  berth_takeovers_total: counter("Partitions claimed"),
  berth_takeover_seconds: histogram("From the claim of a partition until its actors answer", FAST),
  berth_lease_renewals_failed_total: counter("Renewals of this node's lease that failed"),
  berth_evictions_total: counter("Leases removed because their node's process was gone"),
  berth_effects_running: gauge("Tools that run"),

  berth_reconcile_passes_total: counterBy(
    "Comparisons of what is wanted of a host with what is there, by how they ended",
    "result",
    "done",
    "failed",
  ),
  berth_reconcile_removed_total: counter("What hosts removed because nobody wants it", "what"),
  berth_reconcile_lost_total: counter("Workers on record that their host did not have any more"),

  berth_revocations_refused_total: counter(
    "Tries to revoke a worker's credential for which its account's list had no room",
  ),

  berth_broker_storage_bytes: gauge("What Berth's account has on the broker's disks"),
  berth_broker_storage_limit_bytes: gauge("How much it may have there; 0 is no limit"),
  berth_broker_memory_bytes: gauge("What Berth's account has in the broker's memory"),
  berth_broker_memory_limit_bytes: gauge("How much it may have there; 0 is no limit"),
  berth_broker_streams: gauge("Streams of Berth's account, buckets included"),
  berth_broker_consumers: gauge("Consumers of Berth's account"),
  berth_broker_api_errors: gauge("Errors of the broker's JetStream API since it began to count"),
  berth_broker_readings_total: counterBy(
    "Questions to the broker for these values",
    "result",
    "done",
    "failed",
  ),

  berth_gateway_requests_total: counter("HTTP requests", "method", "route", "status"),
  berth_gateway_request_seconds: histogram("Time to an HTTP answer", FAST, "route"),
  berth_denied_total: counter("Requests and connections that were denied, by error code", "code"),
  berth_audit_lost_total: counter(
    "Denials and counts of openings that could not be written to the audit trail",
  ),
  berth_gateway_permit_asks_total: counter("Blocks of requests that users' actors gave"),
  berth_gateway_streams: gauge("Open streams", "transport"),
  berth_gateway_streams_total: counter("Streams opened", "transport"),
  berth_gateway_event_lag_seconds: histogram("From an event's storing to its gateway", FAST),
  berth_gateway_readers_cut_total: counterBy(
    "Readers cut because they were too slow",
    "transport",
    "sse",
    "websocket",
  ),
};

export interface PrometheusMetrics extends Metrics {
  /** The text that `/metrics` serves. */
  text(): Promise<string>;
}

/** Throws `config.invalid` at the first use of a metric that the table does not have. */
export function prometheusMetrics(): PrometheusMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const made = new Map<string, Counter | Gauge | Histogram>();
  for (const [name, row] of Object.entries(METRICS)) made.set(name, create(registry, name, row));
  const find = (name: string) => {
    const metric = made.get(name);
    if (!metric) throw new BerthError("config.invalid", `there is no metric "${name}"`);
    return metric;
  };
  return {
    count(name, labels = {}, by = 1) {
      const metric = find(name);
      if (metric instanceof Counter) metric.inc({ ...labels }, by);
    },
    gauge(name, value, labels = {}) {
      const metric = find(name);
      if (metric instanceof Gauge) metric.set({ ...labels }, value);
    },
    observe(name, value, labels = {}) {
      const metric = find(name);
      if (metric instanceof Histogram) metric.observe({ ...labels }, value);
    },
    text: () => registry.metrics(),
  };
}

function create(registry: Registry, name: string, row: MetricRow): Counter | Gauge | Histogram {
  const common = { name, help: row.help, labelNames: [...row.labels], registers: [registry] };
  switch (row.type) {
    case "counter": {
      const made = new Counter(common);
      for (const labels of row.series ?? []) made.inc({ ...labels }, 0);
      return made;
    }
    case "gauge":
      return new Gauge(common);
    case "histogram":
      return new Histogram({ ...common, buckets: [...row.buckets] });
  }
}
