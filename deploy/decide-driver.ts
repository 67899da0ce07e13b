/** Which driver a node takes, and what people are told of it. Pure. */
import { BerthError } from "../protocols/errors.ts";
import type { Config } from "./config.ts";

export interface EngineFacts {
  /** Undefined: nothing answers. */
  readonly version: string | undefined;
  readonly hasImage: boolean;
  /** Whether we run in a pod, and why its cluster cannot be used; undefined: it can. */
  readonly cluster: { readonly isOurs: boolean; readonly problem: string | undefined };
}

export interface DriverChoice {
  readonly driver: "docker" | "kubernetes" | "process";
  /** What would have to change for the better one; empty when it was taken. */
  readonly hint: string;
}

/** Throws `driver.unavailable` when Docker or Kubernetes is asked for by name and cannot be had. */
export function decideDriver(
  {
    BERTH_DRIVER: wish,
    BERTH_DOCKER_IMAGE: image,
  }: Pick<Config, "BERTH_DRIVER" | "BERTH_DOCKER_IMAGE">,
  { version, hasImage, cluster }: EngineFacts,
): DriverChoice {
  if (wish === "process") return { driver: "process", hint: "" };
  if (wish === "kubernetes") {
    if (cluster.problem === undefined) return { driver: "kubernetes", hint: "" };
    throw new BerthError("driver.unavailable", cluster.problem);
  }
  if (wish === "auto" && cluster.isOurs && cluster.problem === undefined)
    return { driver: "kubernetes", hint: "" };
  const missing =
    version === undefined
      ? "no Docker Engine answers"
      : hasImage
        ? ""
        : `Docker has no image ${image}: "npm run image -- executor" builds it`;
  if (missing === "") return { driver: "docker", hint: "" };
  if (wish === "docker") throw new BerthError("driver.unavailable", missing);
  return { driver: "process", hint: hintOf(missing, cluster) };
}

function hintOf(missing: string, { isOurs, problem }: EngineFacts["cluster"]): string {
  return isOurs && problem !== undefined ? `this pod cannot start others: ${problem}` : missing;
}
