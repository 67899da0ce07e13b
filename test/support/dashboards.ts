/** The dashboards of Grafana as data, and their queries as Prometheus takes them. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { ROOT } from "./source.ts";

const panelSchema = z.object({
  id: z.number().int().positive(),
  title: z.string().min(1),
  type: z.enum(["timeseries", "gauge", "stat"]),
  gridPos: z.object({ x: z.number(), y: z.number(), w: z.number(), h: z.number() }),
  targets: z
    .array(
      z.object({ refId: z.string().min(1), expr: z.string().min(1), legendFormat: z.string() }),
    )
    .min(1),
});
const dashboardSchema = z.object({
  uid: z.string().min(1),
  title: z.string().min(1),
  panels: z.array(panelSchema).min(1),
  templating: z.object({ list: z.array(z.object({ name: z.string() })) }),
});
export type Dashboard = z.infer<typeof dashboardSchema>;

const FOLDER = join(ROOT, "deploy", "monitoring", "grafana", "dashboards");

export function readDashboards(): Dashboard[] {
  return readdirSync(FOLDER).map((name) =>
    dashboardSchema.parse(JSON.parse(readFileSync(join(FOLDER, name), "utf8"))),
  );
}

/** With Grafana's variables replaced: all of everything, rates over `interval`. */
export function plainQuery(expr: string, interval: string): string {
  return expr.replaceAll("$__rate_interval", interval).replaceAll("$tier", ".*");
}
