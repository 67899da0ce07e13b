import { jobChip } from "../lib/chips.js";
import { h } from "../lib/dom.js";
import { duration, millis, shortId } from "../lib/format.js";
import { table } from "../lib/table.js";
import { elapsed, since } from "../lib/ticker.js";

const ACTIVE = new Set(["queued", "starting", "running"]);
export const isActive = (job) => ACTIVE.has(job.state);

const sessionLink = (job, isOperator) =>
  h(
    "a",
    {
      class: "mono",
      href: isOperator
        ? `#/session/${job.tenant}/${job.session_id}`
        : `#/session/${job.session_id}`,
      title: job.id,
    },
    shortId(job.id),
  );

function took(job) {
  const started = millis(job.started_at);
  if (started === null) return "";
  const finished = millis(job.finished_at);
  return finished === null ? elapsed(started) : duration(finished - started);
}

/** A table of jobs; `onCancel(job)` adds a button to those that have not ended. */
export function jobsTable({ caption, jobs, isOperator, onCancel, empty }) {
  const columns = [
    { title: "Job", class: "tight", cell: (job) => sessionLink(job, isOperator) },
    { title: "State", class: "tight", cell: (job) => jobChip(job.state) },
    ...(isOperator
      ? [
          {
            title: "Tenant / user",
            class: "tight",
            cell: (job) => h("span", { title: `tier ${job.tier}` }, `${job.tenant} / ${job.user}`),
          },
        ]
      : []),
    { title: "Agent", class: "tight", cell: (job) => job.agent },
    {
      title: "Prompt",
      class: "cut mono",
      cell: (job) => h("span", { title: job.prompt_preview }, job.prompt_preview),
    },
    { title: "Queued", class: "tight", cell: (job) => since(millis(job.created_at)) },
    { title: "Took", class: "num tight", cell: took },
  ];
  if (onCancel)
    columns.push({
      title: "",
      class: "tight",
      cell: (job) => (isActive(job) ? cancelButton(job, onCancel) : ""),
    });
  return table({ caption, columns, rows: jobs, empty });
}

function cancelButton(job, onCancel) {
  const press = (event) => {
    event.currentTarget.disabled = true;
    onCancel(job);
  };
  return h(
    "button",
    { class: "danger small", type: "button", "aria-label": `Cancel ${job.id}`, onclick: press },
    "Cancel",
  );
}
