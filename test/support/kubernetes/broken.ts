/** Objects of the tree with one thing changed, to see who finds it. */
import { type Manifest, nameOf } from "./manifest.ts";

export interface Break {
  /** As `nameOf` has it. */
  readonly object: string;
  /** From the object's root, as `spec/template/spec/containers/0/image`; `-` at its end adds to a list. */
  readonly path: string;
  /** Absent: what is there is removed. */
  readonly value?: unknown;
}

/** Throws when there is no such object or place: then nothing would be broken. */
export function breakIn(manifests: readonly Manifest[], { object, path, value }: Break): void {
  const keys = path.split("/");
  const last = keys.pop() ?? "";
  let place: unknown = manifests.find((manifest) => nameOf(manifest) === object);
  for (const key of keys) place = fieldsOf(place, path)[key];
  const fields = fieldsOf(place, path);
  if (Array.isArray(place) && last === "-") place.push(value);
  else if (value === undefined) {
    if (!Object.hasOwn(fields, last)) throw new Error(`there is no ${path} to remove`);
    delete fields[last];
  } else fields[last] = value;
}

function fieldsOf(value: unknown, path: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  throw new Error(`there is no place ${path}`);
}
