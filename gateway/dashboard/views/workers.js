/** The workers of a deployment or of a tenant: what each does and uses, and those that have just ended. */
import { stepTrail, tierChip, workerChip } from "../lib/chips.js";
import { h, show } from "../lib/dom.js";
import { bytes, millis, shortId } from "../lib/format.js";
import { LiveTable } from "../lib/live-table.js";
import { panel } from "../lib/table.js";
import { since, until } from "../lib/ticker.js";

export const WORKERS_LISTED = 200;

export class WorkersPanel {
  #panel;
  #table = new LiveTable({
    caption: "Workers",
    columns: COLUMNS,
    empty: {
      title: "No workers",
      text: "Workers start with the first job, or with the pool's minimum.",
    },
  });
  #note = h("p", { class: "notice", hidden: true });
  #dormant = h("span", { class: "chips" });
  #seen;
  #ended = [];

  /** `seen` remembers across pages which workers were there. */
  constructor(title, seen) {
    this.#seen = seen;
    this.#panel = panel(title, { id: "workers", tools: [this.#dormant] });
    this.#panel.body.append(this.#note, this.#table.element);
    this.element = this.#panel.element;
  }

  /** Takes a page of `GET /v1/workers`; undefined leaves all as it is. */
  update(page) {
    if (page === undefined) return;
    const { data, dormant, next, unanswered } = page;
    // A list that was cut says nothing about who is gone.
    if (next === null) this.#ended = this.#seen.note(data);
    this.#panel.counter.textContent = next === null ? data.length : `${data.length}+`;
    this.#table.update([...data, ...this.#ended]);
    this.#note.hidden = unanswered.length === 0;
    this.#note.textContent = `No answer from ${unanswered.join(", ")}: what workers use there is not known.`;
    show(this.#dormant, dormant, () => dormantChips(dormant ?? {}));
  }
}

export function dormantCount(page) {
  return Object.values(page?.dormant ?? {}).reduce((sum, count) => sum + count, 0);
}

const dormantChips = (dormant) =>
  Object.entries(dormant)
    .filter(([, count]) => count > 0)
    .map(([tier, count]) =>
      h(
        "span",
        { class: "chip plain", "data-dormant": tier, title: "started, paused, nobody's yet" },
        `${count} dormant ${tier}`,
      ),
    );

const COLUMNS = [
  {
    title: "Worker",
    class: "tight mono",
    face: (worker) => worker.id,
    cell: (worker) =>
      h("a", { href: `#/worker/${worker.id}`, title: `${worker.id}: its log` }, shortId(worker.id)),
  },
  {
    title: "State",
    class: "tight",
    face: ({ phase, step }) => [phase, step],
    cell: ({ phase, step }) => [workerChip(phase), step === null ? "" : stepTrail(step)],
  },
  {
    title: "For",
    class: "whom",
    face: (worker) => [worker.tier, serves(worker)],
    cell: (worker) => [tierChip(worker.tier), " ", serves(worker)],
  },
  { title: "Jobs", class: "num tight", face: jobsText, cell: jobsText },
  {
    title: "CPU",
    class: "gauge",
    face: ({ cpus_limit, cpus_used, phase }) => [cpus_used, cpus_limit, phase],
    cell: cpuGauge,
    blank: ({ cpus_used, phase }) => cpus_used === null || phase === "ended",
  },
  {
    title: "Memory",
    class: "gauge",
    face: ({ memory_bytes, memory_limit_bytes, phase }) => [
      memory_bytes,
      memory_limit_bytes,
      phase,
    ],
    cell: memoryGauge,
    blank: ({ memory_bytes, phase }) => memory_bytes === null || phase === "ended",
  },
  {
    title: "Idle",
    class: "tight",
    face: ({ idle_deadline, idle_since, phase, seen_at }) => [
      idle_deadline,
      idle_since,
      phase,
      seen_at,
    ],
    cell: idle,
    blank: ({ phase }) => phase === "wanted" || phase === "starting",
  },
  {
    title: "Image, driver, host",
    class: "where",
    face: ({ driver, host, image }) => [driver, host, image],
    blank: ({ host }) => host === null,
    cell: ({ driver, host, image }) => [
      h("span", { class: "mono", title: image ?? "" }, image ?? (host === null ? "–" : "no image")),
      h(
        "span",
        { class: "small muted", title: host ?? "" },
        [driver, host].filter(Boolean).join(", "),
      ),
    ],
  },
];

const muted = (text) => h("span", { class: "muted" }, text);

export function serves(worker) {
  return [worker.tenant, worker.user, worker.agent].filter(Boolean).join(" / ");
}

function jobsText({ jobs, phase, slots }) {
  return phase === "ended" ? "–" : `${jobs.length} / ${slots}`;
}

export function cpuGauge({ cpus_limit: limit, cpus_used: used, phase }) {
  if (used === null || phase === "ended") return muted("–");
  const text = `${used.toFixed(2)} / ${limit}`;
  return gauge(text, { max: limit, value: used, "aria-label": `${text} CPUs` });
}

export function memoryGauge({ memory_bytes: used, memory_limit_bytes: limit, phase }) {
  if (used === null || phase === "ended") return muted("–");
  if (limit === null) return h("span", { class: "number" }, bytes(used));
  const text = `${bytes(used)} / ${bytes(limit)}`;
  const marks = { low: limit * 0.75, high: limit * 0.9, optimum: 0 };
  return gauge(text, { max: limit, value: used, ...marks, "aria-label": `${text} of memory` });
}

function gauge(text, attributes) {
  return [h("meter", { min: 0, ...attributes }), h("span", { class: "number small muted" }, text)];
}

export function idle({ idle_deadline, idle_since, phase, seen_at }) {
  if (phase === "ended") return h("span", { class: "muted" }, "last seen ", since(seen_at));
  if (phase === "busy") return muted("in use");
  if (phase !== "idle" || idle_since === null) return muted("–");
  if (idle_deadline === null) return muted("stays");
  return h("span", {}, "goes in ", until(millis(idle_deadline)));
}
