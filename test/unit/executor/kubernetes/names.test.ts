import { assert, property, stringMatching } from "fast-check";
import { describe, expect, it } from "vitest";
import {
  claimName,
  labelValue,
  podName,
  workerLabels,
} from "../../../../executor/drivers/kubernetes/labels.ts";
import { parseQuantity } from "../../../../executor/drivers/kubernetes/quantity.ts";
import { ID_PATTERN } from "../../../../protocols/ids.ts";

const id = stringMatching(ID_PATTERN);
const DNS_LABEL = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;
const LABEL_VALUE = /^[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$/;

describe("names in a cluster", () => {
  it("are such as it takes, whatever the identifiers are", () => {
    assert(
      property(id, id, id, (a, b, c) => {
        expect(podName(a, b)).toMatch(DNS_LABEL);
        expect(claimName(a, b, c)).toMatch(DNS_LABEL);
        expect(labelValue(a)).toMatch(LABEL_VALUE);
      }),
    );
  });

  it("differ where identifiers differ in what the cluster does not tell apart", () => {
    expect(podName("d", "wrk_A")).not.toBe(podName("d", "wrk_a"));
    expect(podName("d", "wrk_a")).not.toBe(podName("d", "wrk-a"));
    expect(claimName("d", "a-b", "c")).not.toBe(claimName("d", "a", "b-c"));
    const long = "x".repeat(63);
    expect(podName("d", `${long}1`)).not.toBe(podName("d", `${long}2`));
  });

  it("are readable where they can be", () => {
    expect(podName("demo", "wrk-1")).toBe("berth-demo-wrk-1");
  });

  it("are labels of a worker's pod, its user and agent only where it has them", () => {
    const spec = {
      worker: "wrk-1",
      tenant: "acme",
      tier: "free",
      slots: 1,
      workspace: "job",
      workspace_key: "k",
      cpus: 1,
      memory_bytes: 1,
      storage_bytes: 1,
      processes: 1,
      network: "shared",
      internet: false,
    } as const;
    const owner = { deployment: "demo", node: "n1" };
    expect(workerLabels(owner, spec)).toEqual({
      "berth.deployment": "demo",
      "berth.part": "worker",
      "berth.node": "n1",
      "berth.tenant": "acme",
      "berth.tier": "free",
      "berth.incarnation": "wrk-1",
    });
    expect(workerLabels(owner, { ...spec, user: "ann", agent: "shell", internet: true })).toEqual(
      expect.objectContaining({
        "berth.user": "ann",
        "berth.agent": "shell",
        "berth.internet": "true",
      }),
    );
  });
});

describe("quantities", () => {
  it.each([
    ["250m", 0.25],
    ["2", 2],
    ["12345678n", 0.012345678],
    ["128Mi", 128 * 1024 ** 2],
    ["10Gi", 10 * 1024 ** 3],
    ["1500k", 1_500_000],
    ["1e3", 1_000],
  ])("%s is read as the cluster means it", (text, value) => {
    expect(parseQuantity(text)).toBeCloseTo(value, 9);
  });

  it("that are none are no number", () => {
    for (const text of ["", "Mi", "10Qi", "ten"]) expect(parseQuantity(text)).toBeNaN();
  });
});
