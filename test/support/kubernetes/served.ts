/** What the tests' cluster, which is older than the tree, can take of it, under names that nobody else has there. */
import { randomBytes } from "node:crypto";
import { z } from "zod";
import { kubectl } from "../kubernetes.ts";
import type { Manifest } from "./manifest.ts";

/** The same kinds with the same fields, before they were called stable. */
const OLDER: Readonly<Record<string, string>> = {
  "policy/v1": "policy/v1beta1",
  "autoscaling/v2": "autoscaling/v2beta2",
};
/** Younger than the server that the tests build. */
const YOUNGER_FIELDS: Readonly<Record<string, readonly string[]>> = {
  StatefulSet: ["minReadySeconds"],
};
/** Its API was served before it: with other kinds alone. */
const YOUNGER_KINDS: Readonly<Record<string, string>> = { CronJob: "batch/v1beta1" };
const YOUNG = 22;

const minor = z
  .object({ serverVersion: z.object({ minor: z.string() }) })
  .transform(({ serverVersion }) => Number.parseInt(serverVersion.minor, 10));

export const NAMESPACES = ["frontend", "backend", "execution", "monitoring", "logging"].map(
  (layer) => `berth-${layer}`,
);

export class ServedApi {
  readonly suffix = randomBytes(3).toString("hex");
  readonly #versions = new Set(kubectl(["api-versions"]).split("\n"));
  readonly isOld = minor.parse(JSON.parse(kubectl(["version", "--output=json"]))) < YOUNG;

  /** With names of namespaces and of what belongs to none changed, wherever they stand; undefined: it is not served here. */
  fit(manifest: Manifest, others: readonly string[] = []): Manifest | undefined {
    const younger = this.isOld ? YOUNGER_KINDS[manifest.kind] : undefined;
    const wanted = younger ?? manifest.apiVersion;
    const apiVersion = this.#versions.has(wanted) ? wanted : OLDER[wanted];
    if (apiVersion === undefined || !this.#versions.has(apiVersion)) return undefined;
    const names = [...NAMESPACES, ...others];
    const copy = JSON.parse(JSON.stringify(manifest), (_key, value: unknown) =>
      typeof value === "string" && names.includes(value) ? this.named(value) : value,
    ) as Manifest;
    const spec = copy["spec"] as Record<string, unknown> | undefined;
    if (spec && this.isOld) for (const field of YOUNGER_FIELDS[copy.kind] ?? []) delete spec[field];
    return { ...copy, apiVersion };
  }

  named(name: string): string {
    return `${name}-${this.suffix}`;
  }
}
