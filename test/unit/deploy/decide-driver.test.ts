import { describe, expect, it } from "vitest";
import { decideDriver } from "../../../deploy/decide-driver.ts";

const wish = (BERTH_DRIVER: "auto" | "docker" | "process") =>
  ({ BERTH_DRIVER, BERTH_DOCKER_IMAGE: "berth-executor" }) as const;
const ready = { version: "28.0", hasImage: true };
const bare = { version: "28.0", hasImage: false };
const none = { version: undefined, hasImage: false };

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
});
