import { describe, expect, it } from "vitest";
import { decideDriver } from "../../../deploy/decide-driver.ts";

const wish = (BERTH_DRIVER: "auto" | "docker" | "kubernetes" | "process") =>
  ({ BERTH_DRIVER, BERTH_DOCKER_IMAGE: "berth-executor" }) as const;
const cluster = { isOurs: false, problem: "it was not asked for" };
const ready = { version: "28.0", hasImage: true, cluster };
const bare = { version: "28.0", hasImage: false, cluster };
const none = { version: undefined, hasImage: false, cluster };
const inPod = (problem?: string) => ({ ...none, cluster: { isOurs: true, problem } });

describe("the choice of a driver", () => {
  it("is Docker where an engine answers and has the image", () => {
    expect(decideDriver(wish("auto"), ready)).toEqual({ driver: "docker", hint: "" });
  });

  it("is processes otherwise, and says what is missing", () => {
    expect(decideDriver(wish("auto"), none)).toEqual({
      driver: "process",
      hint: "no Docker Engine answers",
    });
    expect(decideDriver(wish("auto"), bare).hint).toMatch(
      /no image berth-executor: "npm run image/,
    );
  });

  it("is processes without a word when that was asked for", () => {
    expect(decideDriver(wish("process"), ready)).toEqual({ driver: "process", hint: "" });
  });

  it("never falls back from Docker that was asked for by name: it would isolate nothing", () => {
    expect(() => decideDriver(wish("docker"), none)).toThrow("no Docker Engine answers");
    expect(() => decideDriver(wish("docker"), bare)).toThrow("no image");
  });

  it("is Kubernetes in a pod that may start others, also beside an engine", () => {
    expect(decideDriver(wish("auto"), inPod())).toEqual({ driver: "kubernetes", hint: "" });
    const both = { ...ready, cluster: inPod().cluster };
    expect(decideDriver(wish("auto"), both).driver).toBe("kubernetes");
    expect(decideDriver(wish("docker"), both).driver).toBe("docker");
  });

  it("is not Kubernetes in a pod that may not, and says why", () => {
    expect(decideDriver(wish("auto"), inPod("pods is forbidden"))).toEqual({
      driver: "process",
      hint: "this pod cannot start others: pods is forbidden",
    });
  });

  it("never falls back from Kubernetes that was asked for by name", () => {
    const outside = { ...ready, cluster: { isOurs: false, problem: undefined } };
    expect(decideDriver(wish("kubernetes"), outside).driver).toBe("kubernetes");
    expect(() => decideDriver(wish("kubernetes"), inPod("nobody answers"))).toThrow(
      "nobody answers",
    );
  });
});
