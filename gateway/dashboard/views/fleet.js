/** What operators see of the machinery: queues, nodes, tenants. Pure functions from data to elements. */
import { tierChip } from "../lib/chips.js";
import { h } from "../lib/dom.js";
import { millis, shortId } from "../lib/format.js";
import { table } from "../lib/table.js";
import { since } from "../lib/ticker.js";

export function tiles(entries) {
  return h(
    "dl",
    { class: "tiles" },
    entries.map(({ title, value, note, meter }) =>
      h(
        "div",
        { class: "tile" },
        h("dt", {}, title),
        h("dd", {}, String(value)),
        meter ?? "",
        note ? h("p", {}, note) : "",
      ),
    ),
  );
}

export function usedMeter(label, used, limit) {
  return h("meter", {
    min: 0,
    max: limit,
    low: limit * 0.75,
    high: limit * 0.95,
    optimum: 0,
    value: used,
    "aria-label": label,
  });
}

export function queuesTable(queues) {
  const deepest = Math.max(10, ...queues.map((queue) => queue.queued));
  return table({
    caption: "Queue depth by tier",
    rows: queues.map((queue) => ({ id: queue.tier, ...queue })),
    empty: { title: "No queues", text: "No place of any tier answered." },
    columns: [
      { title: "Tier", class: "tight", cell: (queue) => tierChip(queue.tier) },
      {
        title: "Queued",
        class: "num",
        cell: (queue) => h("strong", { "data-queued": queue.queued }, String(queue.queued)),
      },
      {
        title: "Depth",
        cell: (queue) =>
          h("meter", {
            min: 0,
            max: deepest,
            low: deepest * 0.6,
            high: deepest * 0.9,
            optimum: 0,
            value: queue.queued,
            "aria-label": `${queue.tier}: ${queue.queued} queued`,
          }),
      },
      {
        title: "Oldest",
        class: "tight",
        cell: (queue) =>
          queue.oldest_queued_at === null
            ? h("span", { class: "muted" }, "none waits")
            : since(millis(queue.oldest_queued_at)),
      },
      { title: "Workers", class: "tight", cell: (queue) => phases(queue.workers) },
    ],
  });
}

function phases(workers) {
  const present = Object.entries(workers).filter(([, count]) => count > 0);
  return present.length === 0
    ? h("span", { class: "muted" }, "none")
    : present.map(([phase, count]) => `${count} ${phase}`).join(", ");
}

export function nodesTable(nodes) {
  return table({
    caption: "Nodes",
    rows: nodes,
    empty: { title: "No nodes", text: "No node holds a lease: jobs wait until one starts." },
    columns: [
      {
        title: "Node",
        class: "tight mono",
        cell: (node) => h("span", { title: node.id }, shortId(node.id)),
      },
      {
        title: "State",
        class: "tight",
        cell: (node) =>
          h(
            "span",
            { class: "chip", "data-tone": node.draining ? "warn" : "good" },
            node.draining ? "draining" : "live",
          ),
      },
      { title: "Partitions", class: "num", cell: (node) => String(node.partitions) },
      {
        title: "Drivers",
        class: "tight",
        cell: (node) => node.drivers.map((driver) => driver.name).join(", "),
      },
      { title: "Started", class: "tight", cell: (node) => since(millis(node.started_at)) },
    ],
  });
}

export function tenantsTable(tenants) {
  return table({
    caption: "Tenants",
    rows: tenants,
    empty: { title: "No tenants", text: "Create one with PUT /v1/tenants/{id}." },
    columns: [
      {
        title: "Tenant",
        cell: (tenant) =>
          h(
            "span",
            {},
            h("strong", {}, tenant.name),
            " ",
            h("span", { class: "muted mono" }, tenant.id),
          ),
      },
      { title: "Tier", class: "tight", cell: (tenant) => tierChip(tenant.tier) },
      {
        title: "State",
        class: "tight",
        cell: (tenant) =>
          h(
            "span",
            { class: "chip", "data-tone": tenant.suspended ? "bad" : "good" },
            tenant.suspended ? "suspended" : "active",
          ),
      },
    ],
  });
}

export function workersNote(workers, dormant) {
  const of = (phase) => workers.filter((worker) => worker.phase === phase).length;
  const counts = [
    [of("busy"), "busy"],
    [of("idle"), "idle"],
    [of("starting"), "starting"],
    [of("wanted"), "waiting for capacity"],
    [dormant, "dormant"],
  ];
  return counts
    .filter(([count], at) => at < 2 || count > 0)
    .map(([count, what]) => `${count} ${what}`)
    .join(", ");
}
