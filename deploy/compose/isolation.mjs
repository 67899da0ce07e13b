/**
 * Prints an overlay that gives each named enterprise tenant a network of its own to the gateways: services of the tenant's own on
 * this host join it, reach the API there, and neither another tenant's network nor the broker. Workers need none of it: nodes
 * make their networks themselves.
 *
 *   node deploy/compose/isolation.mjs org-a org-b > isolation.yaml
 */
import { pathToFileURL } from "node:url";

/** As Berth takes a tenant's id (protocols/ids.ts), as far as it may stand in a network's name. */
const TENANT = /^[a-z0-9][a-z0-9-]{0,39}$/;

export function isolationOverlay(tenants) {
  const wrong = tenants.find((tenant) => !TENANT.test(tenant));
  if (wrong !== undefined || tenants.length === 0)
    throw new Error(`name tenants, as "org-a": ${wrong ?? "none is named"}`);
  const names = [...new Set(tenants)].map((tenant) => `tenant-${tenant}`);
  return [
    '# Made by "node deploy/compose/isolation.mjs". A network for each enterprise tenant, beside development.yaml or production.yaml:',
    "# a service of the tenant's joins it and finds the API at http://berth:8000. README.md has an example.",
    "",
    "services:",
    "  gateway:",
    "    networks:",
    ...["frontend", "backend"].map((name) => `      ${name}: {}`),
    ...names.map((name) => `      ${name}: { aliases: [berth] }`),
    "",
    "networks:",
    ...names.flatMap((name) => [
      `  ${name}:`,
      "    internal: true",
      "    labels:",
      `      berth.tenant: ${name.slice("tenant-".length)}`,
    ]),
    "",
  ].join("\n");
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  try {
    process.stdout.write(isolationOverlay(process.argv.slice(2)));
  } catch (thrown) {
    process.stderr.write(`${thrown.message}\n`);
    process.exitCode = 2;
  }
}
