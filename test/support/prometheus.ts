/**
 * A real Prometheus with the rules of deploy/monitoring, and promtool. `npm test` fetches both; without them tests of rules and
 * dashboards skip themselves, loudly, but never where everything has to be tested.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { describe } from "vitest";
import { z } from "zod";
import { type CommandResult, runCommand } from "../../deploy/nats/command.ts";
import { eventually } from "./eventually.ts";
import { freePort } from "./free-port.ts";
import { withShortWaits } from "./rule-files.ts";
import { ROOT } from "./source.ts";

const SOURCE = join(ROOT, "deploy", "monitoring", "prometheus");
const FETCHED = join(ROOT, ".berth", "cache", "prometheus", "usr", "bin");
const PROMTOOL_MS = 60_000;
/** From a condition to its alert: what is read every 15 s, three times, and the longest wait of a rule. */
const FIRES_MS = 75_000;

const folder = [...(process.env["PATH"] ?? "").split(delimiter), FETCHED].find((path) =>
  ["prometheus", "promtool"].every((name) => existsSync(join(path, name))),
);
const isWanted = folder !== undefined || (process.env["CI"] ?? "") !== "";

/** As `describe`, for tests that need Prometheus. */
export function describePrometheus(name: string, body: () => void): void {
  const title = isWanted ? name : `${name} (SKIPPED: no Prometheus here; npm test fetches it)`;
  describe.skipIf(!isWanted)(title, body);
}

function program(name: string): string {
  if (folder === undefined) throw new Error("there is no Prometheus, and none could be fetched");
  return join(folder, name);
}

/** In the folder of the rules and the configuration. */
export function promtool(...args: string[]): Promise<CommandResult> {
  return runCommand(program("promtool"), args, { timeoutMs: PROMTOOL_MS, cwd: SOURCE });
}

const samplesSchema = z.object({
  status: z.literal("success"),
  data: z.object({
    result: z.array(
      z.object({
        metric: z.record(z.string(), z.string()),
        value: z.tuple([z.number(), z.string()]),
      }),
    ),
  }),
});
const rulesSchema = z.object({
  data: z.object({
    groups: z.array(
      z.object({
        rules: z.array(
          z.object({
            name: z.string(),
            type: z.enum(["alerting", "recording"]),
            health: z.string(),
            lastError: z.string().optional(),
            state: z.string().optional(),
          }),
        ),
      }),
    ),
  }),
});
export type LoadedRule = z.infer<typeof rulesSchema>["data"]["groups"][number]["rules"][number];

export interface Prometheus extends AsyncDisposable {
  /** The values of an instant query; rejects with what Prometheus says of one that is not valid. */
  values(query: string): Promise<number[]>;
  rules(): Promise<LoadedRule[]>;
  /** Names of the alerts that fire. */
  firing(): Promise<string[]>;
  /** Resolves when all of these fire. */
  fires(...alerts: string[]): Promise<void>;
}

export interface Targets {
  /** Hosts with ports. */
  readonly gateways: readonly string[];
  readonly nodes?: readonly string[];
}

/** Scrapes and evaluates each second, and waits seconds for an alert where it is to wait minutes; the rules are otherwise those that are shipped. */
export async function startPrometheus({ gateways, nodes = [] }: Targets): Promise<Prometheus> {
  const dir = await mkdtemp(join(tmpdir(), "berth-prometheus-"));
  const config = join(dir, "config");
  await cp(SOURCE, config, { recursive: true });
  await shortenIntervals(join(config, "prometheus.yml"));
  const alerts = join(config, "rules", "alerts.yml");
  await writeFile(alerts, withShortWaits(await readFile(alerts, "utf8")));
  await writeFile(join(config, "targets", "gateways.yml"), targetsText(gateways));
  await writeFile(join(config, "targets", "nodes.yml"), targetsText(nodes));
  const port = await freePort("prometheus");
  const child = spawn(
    program("prometheus"),
    [
      `--config.file=${join(config, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(dir, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--log.level=warn",
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let log = "";
  child.stderr.on("data", (chunk: Buffer) => {
    log += chunk.toString();
  });
  const base = `http://127.0.0.1:${port}`;
  const running = client(base);
  const dispose = async () => {
    await end(child);
    await rm(dir, { recursive: true, force: true });
  };
  try {
    await eventually(async () => (await fetch(`${base}/-/ready`)).ok, {
      within: 30_000,
      name: "Prometheus is ready",
    });
  } catch (thrown) {
    await dispose();
    throw new Error(`Prometheus did not start: ${log}`, { cause: thrown });
  }
  return { ...running, [Symbol.asyncDispose]: dispose };
}

function client(base: string): Omit<Prometheus, keyof AsyncDisposable> {
  const rules = async () => {
    const body: unknown = await (await fetch(`${base}/api/v1/rules`)).json();
    return rulesSchema.parse(body).data.groups.flatMap((group) => group.rules);
  };
  const firing = async () =>
    (await rules()).filter(({ state }) => state === "firing").map(({ name }) => name);
  return {
    rules,
    firing,
    async fires(...alerts) {
      let late = alerts;
      const isNone = async () => {
        const names = await firing();
        late = alerts.filter((name) => !names.includes(name));
        return late.length === 0;
      };
      await eventually(isNone, { within: FIRES_MS }).catch((cause: unknown) => {
        throw new Error(`not within ${FIRES_MS} ms: ${late.join(" and ")}`, { cause });
      });
    },
    async values(query) {
      const answer = await fetch(`${base}/api/v1/query?query=${encodeURIComponent(query)}`);
      const text = await answer.text();
      if (!answer.ok) throw new Error(`${query}: ${text}`);
      return samplesSchema.parse(JSON.parse(text)).data.result.map(({ value }) => Number(value[1]));
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
}

/** What is not there any more would be shortened by nobody, and the test would wait in vain. */
async function shortenIntervals(file: string): Promise<void> {
  const before = await readFile(file, "utf8");
  const after = before.replaceAll(/(_interval|_timeout): \d+s/g, "$1: 1s");
  if (after === before) throw new Error(`${file} has no interval`);
  await writeFile(file, after);
}

const targetsText = (hosts: readonly string[]) => JSON.stringify([{ targets: hosts }]);
