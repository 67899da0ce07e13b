/**
 * The custom resource `Sandbox` as a real API server is told of it: group, version, fields and subresource are those that
 * agent-sandbox publishes for agents.x-k8s.io/v1beta1, written down here. The pod's part is taken from the server's own
 * published schema of a PodSpec, as agent-sandbox compiles it in: what a PodSpec does not have is dropped here too.
 */
import { z } from "zod";
import { eventually } from "../eventually.ts";
import { kubectl } from "../kubernetes.ts";

export const SANDBOXES = "sandboxes.agents.x-k8s.io";
const POD_SPEC = "io.k8s.api.core.v1.PodSpec";
const QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const REF = "#/definitions/";

type Schema = { readonly [keyword: string]: unknown };
const openApiSchema = z.object({
  definitions: z.record(z.string(), z.record(z.string(), z.unknown())),
});

const text = { type: "string" } as const;
const object = (
  properties: Readonly<Record<string, Schema>>,
  required: readonly string[] = [],
) => ({
  type: "object",
  properties,
  ...(required.length === 0 ? {} : { required }),
});
const listOf = (items: Schema) => ({ type: "array", items });
const oneOf = (...values: readonly string[]) => ({ type: "string", enum: values });
const MAP_OF_TEXT = { type: "object", additionalProperties: text };

/** A schema of the server's as a custom resource may have it: whole, and of keywords that count there. */
function structural(schema: Schema, definitions: Readonly<Record<string, Schema>>): Schema {
  const ref = schema["$ref"];
  if (typeof ref === "string") {
    const name = ref.slice(REF.length);
    if (name === QUANTITY) return { "x-kubernetes-int-or-string": true };
    return structural(definitions[name] ?? {}, definitions);
  }
  if (schema["format"] === "int-or-string") return { "x-kubernetes-int-or-string": true };
  const { additionalProperties, enum: values, format, items, properties, required, type } = schema;
  const inner = (one: unknown) => structural(one as Schema, definitions);
  const whole = {
    type,
    format,
    required,
    enum: values,
    items: items && inner(items),
    additionalProperties: additionalProperties && inner(additionalProperties),
    properties:
      properties &&
      Object.fromEntries(
        Object.entries(properties as Record<string, Schema>).map(([name, one]) => [
          name,
          inner(one),
        ]),
      ),
  };
  return JSON.parse(JSON.stringify(whole)) as Schema;
}

function specSchema(pod: Schema): Schema {
  const metadata = object({ labels: MAP_OF_TEXT, annotations: MAP_OF_TEXT });
  return object(
    {
      podTemplate: object({ metadata, spec: pod }, ["spec"]),
      service: { type: "boolean" },
      operatingMode: { ...oneOf("Running", "Suspended"), default: "Running" },
      shutdownTime: { ...text, format: "date-time" },
      shutdownPolicy: { ...oneOf("Delete", "Retain"), default: "Retain" },
    },
    ["podTemplate"],
  );
}

const CONDITION = object(
  {
    type: text,
    status: oneOf("True", "False", "Unknown"),
    reason: { ...text, minLength: 1 },
    message: text,
    observedGeneration: { type: "integer", format: "int64" },
    lastTransitionTime: { ...text, format: "date-time" },
  },
  ["lastTransitionTime", "message", "reason", "status", "type"],
);

function definition(pod: Schema): object {
  const status = object({
    conditions: listOf(CONDITION),
    selector: text,
    podIPs: listOf(text),
    nodeName: text,
    service: text,
    serviceFQDN: text,
  });
  const openAPIV3Schema = object({ spec: specSchema(pod), status }, ["spec"]);
  const names = { kind: "Sandbox", listKind: "SandboxList", plural: "sandboxes" };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: SANDBOXES },
    spec: {
      group: "agents.x-k8s.io",
      scope: "Namespaced",
      names: { ...names, singular: "sandbox", shortNames: ["sandbox"] },
      versions: [
        {
          name: "v1beta1",
          served: true,
          storage: true,
          schema: { openAPIV3Schema },
          subresources: { status: {} },
        },
      ],
    },
  };
}

/** Whether the cluster has it from somebody else, whose controller is the real one. */
export function areSandboxesThere(): boolean {
  return kubectl(["get", "customresourcedefinitions", "--output=name"]).includes(SANDBOXES);
}

/** Resolves when the server serves it. */
export async function installSandboxes(): Promise<AsyncDisposable> {
  const published = openApiSchema.parse(JSON.parse(kubectl(["get", "--raw", "/openapi/v2"])));
  const pod = structural({ $ref: `${REF}${POD_SPEC}` }, published.definitions);
  kubectl(["create", "--filename=-"], JSON.stringify(definition(pod)));
  await eventually(() => kubectl(["get", "sandboxes", "--all-namespaces"]) !== undefined, {
    name: "sandboxes are served",
    within: 30_000,
  });
  return {
    async [Symbol.asyncDispose]() {
      kubectl(["delete", "customresourcedefinition", SANDBOXES]);
    },
  };
}
