import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { CONFIG_VARIABLES, describeConfig, loadConfig } from "../../../deploy/config.ts";
import { DEFAULT_TIERS } from "../../../protocols/tiers.ts";

describe("loadConfig", () => {
  it("an empty environment is a valid one", () => {
    const config = loadConfig({});
    expect(config).toMatchObject({
      BERTH_DATA: ".berth",
      BERTH_PORT: 8_000,
      BERTH_LEASE_TTL: 8_000,
      tiers: DEFAULT_TIERS,
      jwt: undefined,
      unknown: [],
    });
    expect(Object.isFrozen(config)).toBe(true);
  });

  it("an empty variable is not set, though a port could be read from it", () => {
    expect(loadConfig({ BERTH_PORT: "", BERTH_NATS_URL: "" })).toEqual(
      expect.objectContaining({ BERTH_PORT: 8_000 }),
    );
    expect(loadConfig({ BERTH_PORT: "" }).explicitPorts.size).toBe(0);
    expect([...loadConfig({ BERTH_PORT: "8001" }).explicitPorts]).toEqual(["BERTH_PORT"]);
  });

  it.each([
    ["BERTH_PORT", "65536"],
    ["BERTH_PORT", "http"],
    ["BERTH_NATS_URL", "localhost port 4222"],
    ["BERTH_LEASE_TTL", "4"],
    ["BERTH_LEASE_TTL", "soon"],
    ["BERTH_PARTITIONS", "0"],
    ["BERTH_REPLICAS", "1.5"],
    ["BERTH_LOG_LEVEL", "loud"],
    ["BERTH_NODE_ID", "a.b"],
    ["BERTH_JWT_SECRET", "short"],
    ["BERTH_NATS_SHA256", "abc"],
    ["BERTH_TIERS", "{"],
    ["BERTH_TIERS", '{"gold":{}}'],
    ["BERTH_TIERS", '{"pro":{"idleTimeout":"1s"}}'],
    ["BERTH_TIERS", '{"pro":{"idleTimeoutMs":"soon"}}'],
    ["BERTH_TIERS", '{"free":{"jobsPerHour":0}}'],
  ])("%s=%s is refused with an error that names the variable", (name, value) => {
    expect(() => loadConfig({ [name]: value })).toThrow(
      expect.objectContaining({
        code: "config.invalid",
        field: name,
        message: expect.stringMatching(new RegExp(`^${name}: `)),
      }),
    );
  });

  it("an archive needs its checksum, and the other way round", () => {
    const url = "https://example.org/nats.tar.gz";
    const sha256 = "0".repeat(64);
    expect(() => loadConfig({ BERTH_NATS_ARCHIVE: url })).toThrow(/BERTH_NATS_SHA256/);
    expect(() => loadConfig({ BERTH_NATS_SHA256: sha256 })).toThrow(/BERTH_NATS_ARCHIVE/);
    loadConfig({ BERTH_NATS_ARCHIVE: url, BERTH_NATS_SHA256: sha256 });
  });

  it("several brokers of one cluster are named with commas", () => {
    const urls = "nats://a:4222,nats://b:4222";
    expect(loadConfig({ BERTH_NATS_URL: urls }).BERTH_NATS_URL).toBe(urls);
  });

  it("a tier's durations may be words or milliseconds", () => {
    const { tiers } = loadConfig({
      BERTH_TIERS: '{"pro":{"idleTimeoutMs":"1s","jobTimeoutMs":2000},"free":{"minWorkers":1}}',
    });
    expect(tiers.pro).toEqual({ ...DEFAULT_TIERS.pro, idleTimeoutMs: 1_000, jobTimeoutMs: 2_000 });
    expect(tiers.free.minWorkers).toBe(1);
  });

  it("a misspelt variable is reported, one that clients and agents read is not", () => {
    const { unknown } = loadConfig({ BERTH_PROT: "1", BERTH_URL: "http://x", PATH: "/bin" });
    expect(unknown).toEqual(["BERTH_PROT"]);
  });

  it("no secret is in what is printed", () => {
    const config = loadConfig({
      BERTH_JWT_SECRET: "correct horse battery staple, twice",
      BERTH_NATS_URL: "nats://platform:hunter2hunter2@host:4222",
      BERTH_WORKER_NATS_URL: "nats://worker:hunter3hunter3@host:4222",
      ANTHROPIC_API_KEY: "sk-secret",
      BERTH_SHARE_KEYS: "on",
    });
    const text = JSON.stringify(describeConfig(config));
    expect(text).not.toMatch(/horse|hunter|sk-secret/);
    expect(text).toContain('"BERTH_PORT":8000');
  });
});

describe("docs/configuration.md", () => {
  const text = readFileSync(new URL("../../../docs/configuration.md", import.meta.url), "utf8");
  const rows = text.split("\n").flatMap((line) => {
    const [, name, fallback, about] =
      /^\| `((?:BERTH|OTEL)_\w+|KUBECONFIG)` \| (?:`([^`]*)` )?\| (.+) \|$/.exec(line) ?? [];
    return name === undefined ? [] : [{ name, fallback, about }];
  });

  it("lists every variable once, and no other", () => {
    expect(rows.map(({ name }) => name).toSorted()).toEqual(CONFIG_VARIABLES.toSorted());
  });

  it.each(rows)("says the default of $name", ({ name, fallback }) => {
    const key = name as keyof ReturnType<typeof loadConfig>;
    const actual = loadConfig({})[key];
    if (fallback === undefined) expect(actual ?? []).toEqual([]);
    else expect(loadConfig({ [name]: fallback })[key]).toEqual(actual);
  });
});
