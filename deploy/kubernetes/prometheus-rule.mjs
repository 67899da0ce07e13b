/**
 * The rules of deploy/monitoring as one object for the operator of Prometheus, on standard output:
 * `node deploy/kubernetes/prometheus-rule.mjs | kubectl apply -f -`. They are in its terms what they are in their files.
 */
import { readFileSync } from "node:fs";

const RULES = new URL("../monitoring/prometheus/rules/", import.meta.url);

const HEAD = `apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: berth
  namespace: berth-monitoring
  labels: { app.kubernetes.io/part-of: berth }
spec:
  groups:
`;

/** What follows the line \`groups:\`, two columns further in. */
function groupsOf(name) {
  const text = readFileSync(new URL(name, RULES), "utf8");
  const [, groups] = text.split(/^groups:\n/m);
  if (groups === undefined) throw new Error(`${name} has no groups`);
  return groups.replaceAll(/^(?=.)/gm, "  ");
}

process.stdout.write(HEAD + ["recording.yml", "alerts.yml"].map(groupsOf).join(""));
