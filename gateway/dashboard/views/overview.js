import { h, show } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { Poller } from "../lib/poller.js";
import { panel } from "../lib/table.js";
import { nodesTable, queuesTable, tenantsTable, tiles, usedMeter, workersNote } from "./fleet.js";
import { isActive, jobsTable } from "./jobs.js";
import { dormantCount, WORKERS_LISTED, WorkersPanel } from "./workers.js";

const EVERY_MS = 2_000;
const RECENT = 50;

/** The state of the deployment for operators, and of one's own jobs and limits for everyone else. */
export function overviewView({ api, identity, announce, seen }) {
  const isOperator = identity.scope === "operator";
  const isAdmin = identity.scope === "tenant_admin";
  const notice = h("p", { class: "notice bad", role: "alert", hidden: true });
  const sections = isOperator ? operatorSections(seen) : userSections(isAdmin, seen);
  const cancel = (job) =>
    api
      .post(`/v1/jobs/${job.id}/cancel`, undefined, isOperator ? { tenant: job.tenant } : {})
      .then(() => announce(`Cancelling ${job.id}`))
      .catch((error) => fail(error))
      .finally(() => poller.now());

  const fail = (error) => {
    notice.hidden = error === undefined;
    notice.textContent =
      error === undefined ? "" : `Not up to date: ${error.message} Trying again.`;
  };

  const load = async () => {
    const loaded = await Promise.allSettled([
      api.get("/v1/jobs", { limit: RECENT }).then((page) => page.data),
      ...(isOperator ? loadFleet(api) : [api.get("/v1/limits")]),
      ...(isAdmin ? [loadWorkers(api)] : []),
    ]);
    const [jobs, ...rest] = loaded.map((result) =>
      result.status === "fulfilled" ? result.value : undefined,
    );
    fail(loaded.find((result) => result.status === "rejected")?.reason);
    if (jobs) showJobs(sections, jobs, isOperator, cancel);
    if (isOperator) showFleet(sections, jobs, rest);
    else if (rest[0]) showLimits(sections, rest[0]);
    if (isAdmin) sections.workers.update(rest[1]);
  };

  const poller = new Poller(load, EVERY_MS);
  return {
    element: h(
      "div",
      { class: "stack" },
      h("h1", { class: "visually-hidden" }, "Overview"),
      notice,
      ...sections.elements,
    ),
    refresh: () => poller.now(),
    close: () => poller.stop(),
  };
}

const loadWorkers = (api) => api.get("/v1/workers", { limit: WORKERS_LISTED });

const loadFleet = (api) => [
  api.get("/v1/queues").then((page) => page.data),
  loadWorkers(api),
  api.list("/v1/nodes"),
  api.list("/v1/tenants"),
  api.get("/v1/dead-letters", { limit: 200 }),
];

function operatorSections(seen) {
  const parts = {
    figures: h("div", {}),
    queues: panel("Queue depth by tier", { id: "queues" }),
    workers: new WorkersPanel("Workers", seen),
    running: panel("Running and waiting jobs", { id: "running" }),
    recent: panel("Recent jobs", { id: "recent" }),
    nodes: panel("Nodes", { id: "nodes" }),
    tenants: panel("Tenants", { id: "tenants" }),
  };
  const left = h("div", { class: "stack" }, parts.running.element, parts.recent.element);
  const right = h(
    "div",
    { class: "stack" },
    parts.queues.element,
    parts.nodes.element,
    parts.tenants.element,
  );
  return {
    ...parts,
    elements: [parts.figures, parts.workers.element, h("div", { class: "columns" }, left, right)],
  };
}

function userSections(isAdmin, seen) {
  const parts = {
    figures: h("div", {}),
    workers: new WorkersPanel("Workers of the tenant", seen),
    running: panel("Running and waiting jobs", { id: "running" }),
    recent: panel("Recent jobs", { id: "recent" }),
  };
  const elements = [parts.figures, parts.running.element, parts.recent.element];
  if (isAdmin) elements.push(parts.workers.element);
  return { ...parts, elements };
}

/** What of a job changes what is shown. */
const face = (job) => [job.id, job.state, job.started_at, job.finished_at];

function showJobs(sections, jobs, isOperator, onCancel) {
  const active = jobs.filter(isActive);
  const ended = jobs.filter((job) => !isActive(job));
  sections.running.counter.textContent = active.length;
  show(sections.running.body, active.map(face), () =>
    jobsTable({
      caption: "Running and waiting jobs",
      jobs: active,
      isOperator,
      onCancel,
      empty: {
        title: "Nothing runs",
        text: "Submit a prompt in the console, or with “berth run”.",
      },
    }),
  );
  sections.recent.counter.textContent = ended.length;
  show(sections.recent.body, ended.map(face), () =>
    jobsTable({
      caption: "Recent jobs",
      jobs: ended,
      isOperator,
      empty: { title: "No jobs yet", text: "Jobs that have ended are listed here, newest first." },
    }),
  );
}

function showFleet(sections, jobs = [], [queues, workers, nodes, tenants, deadLetters]) {
  fill(sections.queues, queues, queuesTable);
  sections.workers.update(workers);
  fill(sections.nodes, nodes, nodesTable);
  fill(sections.tenants, tenants, tenantsTable);
  const dead = deadLetters?.data.length;
  const figures = [
    {
      title: "Running jobs",
      value: jobs.filter((job) => job.state === "running" || job.state === "starting").length,
    },
    {
      title: "Queued jobs",
      value: queues?.reduce((sum, queue) => sum + queue.queued, 0) ?? "–",
      note: "over all tiers",
    },
    {
      title: "Workers",
      value: workers?.data.length ?? "–",
      note: workers ? workersNote(workers.data, dormantCount(workers)) : "",
    },
    {
      title: "Nodes",
      value: nodes?.length ?? "–",
      note: nodes?.some((node) => node.draining) ? "one or more draining" : "",
    },
    {
      title: "Dead letters",
      value: dead === undefined ? "–" : deadLetters.next ? `${dead}+` : dead,
      note: dead ? "see “berth dead-letters”" : "",
    },
  ];
  show(sections.figures, figures, () => tiles(figures));
}

function fill(section, rows, makeTable) {
  if (rows === undefined) return;
  section.counter.textContent = rows.length;
  show(section.body, rows, () => makeTable(rows));
}

function showLimits(sections, limits) {
  const { hourly, concurrent, queued } = limits;
  const used = hourly.limit - hourly.remaining;
  show(sections.figures, limits, () =>
    tiles([
      {
        title: "Jobs left this hour",
        value: hourly.remaining,
        note: `of ${hourly.limit}; counts anew at ${new Date(hourly.reset_at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}`,
        meter: usedMeter(`${used} of ${hourly.limit} jobs used this hour`, used, hourly.limit),
      },
      {
        title: "Running",
        value: concurrent.running,
        note: concurrent.limit === null ? "no limit" : `at most ${concurrent.limit} at once`,
      },
      { title: "Waiting", value: queued.waiting, note: `room for ${queued.limit}` },
      {
        title: "Job time limit",
        value: limits.job_timeout_ms === null ? "none" : duration(limits.job_timeout_ms),
        note: `tier ${limits.tier}`,
      },
    ]),
  );
}
