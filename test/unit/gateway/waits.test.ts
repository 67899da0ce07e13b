/** What a job that does not run yet waits for, as its user is told. */
import { describe, expect, it } from "vitest";
import { decideWait } from "../../../gateway/waits.ts";
import type { PlaceView } from "../../../protocols/actors/place.ts";
import type { JobWait } from "../../../protocols/api.ts";
import { subjects } from "../../../protocols/subjects.ts";
import { deferred } from "../../support/deferred.ts";
import { startGatewayRig } from "../../support/gateway-rig.ts";

type Phase = PlaceView["workers"][number]["phase"];
const place = (queued: number, ...phases: Phase[]) => ({
  queued,
  workers: phases.map((phase, n) => ({ worker: `w${n}`, phase, jobs: [], idle_since: null })),
});
const wanted = { isWanted: true, step: null };
const at = (step: JobWait["step"]) => ({ isWanted: false, step });

describe("a queued job waits", () => {
  it.each([
    ["for its user's earlier jobs: nothing is at the place", place(0, "busy"), [], "turn", null],
    ["for a slot, when all workers are in use", place(3, "busy", "busy"), [], "slot", null],
    ["for a slot, when others are before it", place(9, "busy", "starting"), [wanted], "slot", null],
    ["for capacity", place(1, "starting"), [wanted], "capacity", null],
    ["for its worker", place(1, "starting"), [at("creating")], "worker", "creating"],
    [
      "for the first of two",
      place(1, "starting"),
      [at("claiming"), at("connecting")],
      "worker",
      "connecting",
    ],
    ["for one that no host tells of yet", place(1, "starting"), [at(null)], "worker", null],
    ["for one that is added", place(1, "busy", "starting"), [at("starting")], "worker", "starting"],
    ["for one that is still to be asked for", place(1), [], "worker", null],
  ] as const)("%s", (_, view, starts, waits_on, step) => {
    expect(decideWait(view, starts)).toEqual({ waits_on, step });
  });
});

describe("GET /v1/jobs/{id}/wait", () => {
  it("follows a cold start from capacity to the agent, for its owner alone", async () => {
    await using rig = await startGatewayRig({ tuning: { freshMs: 100 } });
    const started = deferred();
    rig.executor.startsAfter = started.promise;
    const steps: Record<string, string> = {};
    const serving = rig.transport.bus.serve(
      subjects.node("rig", "workers"),
      undefined,
      (request) => {
        const told = { node: "rig", driver: "fake", at: 1, use: {}, steps, dormant: {} };
        request.reply(new TextEncoder().encode(JSON.stringify(told)));
      },
    );
    await serving.ready;
    const job = await rig.submit("sleep");
    const wait = async (key = rig.keys.pro): Promise<JobWait> => {
      const answer = await rig.api("GET", `/v1/jobs/${job.id}/wait`, { key });
      expect(answer.status).toBe(200);
      return (await answer.json()) as JobWait;
    };
    await expect.poll(() => wait()).toMatchObject({ state: "queued", waits_on: "worker" });
    const records = await rig.transport.buckets.list("workers", "");
    const own = records.map(({ value }) => JSON.parse(new TextDecoder().decode(value)));
    steps[own.find(({ spec }) => spec.tenant === "t-pro").id] = "creating";
    await expect.poll(() => wait(), { timeout: 5_000 }).toMatchObject({ step: "creating" });
    expect(await wait(rig.keys.operator)).toMatchObject({ waits_on: "worker" });
    const other = await rig.api("GET", `/v1/jobs/${job.id}/wait`, { key: rig.keys.other });
    expect(other.status).toBe(404);
    started.resolve();
    const attempt = await rig.executor.attempt(job.id);
    await expect.poll(() => wait()).toMatchObject({ state: "starting", waits_on: "agent" });
    await attempt.start();
    await expect.poll(() => wait()).toMatchObject({ state: "running", waits_on: null, step: null });
    await serving.close();
  });
});
