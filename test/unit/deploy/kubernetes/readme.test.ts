/** What deploy/kubernetes/README.md tells people to type: programs, files and names in it are there. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { MADE_ELSEWHERE } from "../../../support/kubernetes/reference-faults.ts";
import { ROOT } from "../../../support/source.ts";

const README = readFileSync(join(ROOT, "deploy", "kubernetes", "README.md"), "utf8");
const lines = [...README.matchAll(/^ *\$ (.+)$/gm)].map(([, line]) => line!);

describe("the steps of the Kubernetes tree", () => {
  it("name folders and scripts that there are", () => {
    expect(lines.length).toBeGreaterThan(20);
    const paths = lines.flatMap((line) => line.match(/deploy\/kubernetes\/[\w./-]+/g) ?? []);
    const files = [...README.matchAll(/`((?:components|platform|environments|base)\/[\w./-]+)`/g)];
    const named = [...paths, ...files.map(([, path]) => `deploy/kubernetes/${path}`)];
    expect(new Set(named).size).toBeGreaterThan(12);
    expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  it("make every secret that pods name and cert-manager does not", () => {
    const made = lines.flatMap((line) => {
      const [, namespace, name] = /-n (\S+) create secret generic (\S+)/.exec(line) ?? [];
      return name === undefined ? [] : [`Secret ${namespace}/${name}`];
    });
    const wanted = MADE_ELSEWHERE.filter(
      (name) => name.startsWith("Secret") && !name.endsWith("-tls"),
    );
    expect(made.toSorted(byText)).toEqual(wanted.toSorted(byText));
  });

  it("are commands that berth has", () => {
    const commands = lines.flatMap(
      (line) => line.match(/(?<=^|-- )berth [a-z-]+(?: [a-z-]+)?/g) ?? [],
    );
    expect(new Set(commands)).toEqual(
      new Set([
        "berth nats access",
        "berth nats creds",
        "berth vault new-key",
        "berth operator-key",
        "berth doctor",
      ]),
    );
    const sources = ["nats", "vault", "doctor", "up", "roles"].map((name) =>
      readFileSync(join(ROOT, "deploy", "cli", `${name}.ts`), "utf8"),
    );
    const known = new Set(
      [...sources.join().matchAll(/ommand\("([a-z-]+)"/g)].map(([, name]) => name),
    );
    const words = commands.flatMap((command) => command.split(" ").slice(1));
    expect(words.filter((word) => !known.has(word) && word !== "gateways")).toEqual([]);
  });
});

const byText = (a: string, b: string) => (a < b ? -1 : 1);
