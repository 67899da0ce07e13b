/** The files of deploy/compose, read as they are. That they work is shown by test/compose. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
// @ts-expect-error A program without types.
import { isolationOverlay } from "../../../deploy/compose/isolation.mjs";
import { loadConfig } from "../../../deploy/config.ts";
import { ROOT } from "../../support/source.ts";

interface Service {
  readonly image?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly extends?: { readonly service: string };
  readonly deploy?: { readonly resources?: { readonly limits?: object } };
  readonly networks?: unknown;
}
interface Stack {
  readonly services: Readonly<Record<string, Service>>;
  readonly networks?: Readonly<Record<string, { readonly internal?: boolean }>>;
}

const FILES = [
  "services.yaml",
  "development.yaml",
  "production.yaml",
  "isolation.yaml",
  "broker-tls.yaml",
  "gateway-tls.yaml",
] as const;
const text = (file: string) => readFileSync(join(ROOT, "deploy", "compose", file), "utf8");
const stack = (file: string) => parse(text(file), { merge: true }) as Stack;
const ours = () => Object.entries(stack("services.yaml").services);

describe("the files of deploy/compose", () => {
  it.each(FILES)("%s sets no variable of Berth's that nothing reads", (file) => {
    const names = Object.values(stack(file).services).flatMap(({ environment = {} }) =>
      Object.keys(environment).filter((name) => name.startsWith("BERTH_")),
    );
    // What the config does not know it lists; what it knows may be refused for its value here, which is not looked at.
    const unknown = names.filter((name) => {
      try {
        return loadConfig({ PATH: "/", [name]: "x" }).unknown.length > 0;
      } catch {
        return false;
      }
    });
    expect(unknown).toEqual([]);
  });

  it("would find one", () => {
    expect(loadConfig({ PATH: "/", BERTH_NOBODY_READS: "x" }).unknown).toEqual([
      "BERTH_NOBODY_READS",
    ]);
  });

  it("give every service of ours a read-only root, no capability by default, and no way to more", () => {
    for (const [name, service] of ours()) {
      expect({ name, read_only: service.read_only }).toEqual({ name, read_only: true });
      expect({ name, cap_drop: service.cap_drop }).toEqual({ name, cap_drop: ["ALL"] });
      expect(service.security_opt).toContain("no-new-privileges:true");
    }
  });

  it("hold everything that runs for good in production to limits, and name no image without a version", () => {
    for (const [name, service] of Object.entries(stack("production.yaml").services)) {
      if (name === "keys" || name === "executor") continue;
      expect({ name, limits: service.deploy?.resources?.limits }).toEqual({
        name,
        limits: { cpus: expect.any(String), memory: expect.any(String) },
      });
      if (service.image !== undefined) expect(service.image).toMatch(/:v?\d+\.\d+\.\d+$/);
    }
  });

  it.each(["development.yaml", "production.yaml"])("%s leads out of `frontend` alone", (file) => {
    const networks = stack(file).networks ?? {};
    expect(Object.keys(networks)).toEqual(["frontend", "backend", "execution"]);
    expect(networks["frontend"]?.internal ?? false).toBe(false);
    expect([networks["backend"]?.internal, networks["execution"]?.internal]).toEqual([true, true]);
  });
});

describe("the isolation overlay", () => {
  it("is what its program prints", () => {
    expect(text("isolation.yaml")).toBe(isolationOverlay(["org-a", "org-b"]));
  });

  it.each([[[]], [["Org A"]], [["org-a", "x: {}\n"]]])("is not made for %j", (tenants) => {
    expect(() => isolationOverlay(tenants)).toThrow(/name tenants/);
  });
});
