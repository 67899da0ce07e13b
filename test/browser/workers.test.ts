/** What the dashboard shows of workers: use, starts, logs; and of a job until it runs. */
import type { Page, Route } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findByEnvironment } from "../../executor/process-table.ts";
import { markerOf } from "../../executor/process-tree.ts";
import type { JobWait } from "../../protocols/api.ts";
import type { ApiWorker, WorkerPage } from "../../protocols/api-operators.ts";
import { startBerth, type TestBerth } from "../support/berth.ts";
import { type Browser, browserPath, startBrowser } from "../support/browser.ts";
import { eventually } from "../support/eventually.ts";

const title =
  browserPath === undefined ? "workers (SKIPPED: no Chromium here)" : "workers on the dashboard";
const GIB = 1024 ** 3;
/** Room for the pool's one worker, the fleet's one and a user's: the next one waits. */
const MAX_WORKERS = "3";

describe.skipIf(browserPath === undefined)(title, () => {
  let berth: TestBerth;
  let browser: Browser;
  beforeAll(async () => {
    berth = await startBerth({
      tiers: { free: { minWorkers: 1, maxWorkers: 1 }, pro: { idleTimeoutMs: 600_000 } },
      env: { BERTH_MAX_WORKERS: MAX_WORKERS },
    });
    browser = await startBrowser();
  });
  afterAll(async () => {
    await browser[Symbol.asyncDispose]();
    await berth.stop();
  });

  const open = (key: string) => browser.open(`${berth.url}/#key=${key}`);
  async function list(): Promise<ApiWorker[]> {
    const headers = { authorization: `Bearer ${berth.keys.operator}` };
    const answer = await fetch(`${berth.url}/v1/workers`, { headers });
    return ((await answer.json()) as WorkerPage).data;
  }
  const row = (page: Page, id: string) => page.locator(`#workers tr[data-id="${id}"]`);
  const cell = (page: Page, id: string, column: string) =>
    row(page, id).locator(`td[data-title="${column}"]`);

  async function submit(page: Page, prompt: string): Promise<void> {
    await page.getByRole("link", { name: "Console" }).click();
    await page.getByLabel("Prompt or script").fill(prompt);
    await page.getByRole("button", { name: "Run", exact: true }).click();
  }

  /** A page of workers as hosts with containers would tell it. */
  async function asContainers(route: Route, more: readonly Partial<ApiWorker>[]): Promise<void> {
    const answer = await route.fetch();
    const page = (await answer.json()) as WorkerPage;
    const data = page.data.map((worker) => ({
      ...worker,
      image: "berth-executor:1",
      memory_bytes: 0.95 * GIB,
      memory_limit_bytes: GIB,
    }));
    const starting = more.map((change) => ({ ...page.data[0], ...change }));
    const dormant = { free: 1, pro: 2 };
    await route.fulfill({
      response: answer,
      json: { ...page, data: [...starting, ...data], dormant, unanswered: ["n7"] },
    });
  }

  test("a busy worker shows its CPU and memory, its log shows while it lives and when it was killed", async () => {
    const user = await open(berth.keys.pro);
    await submit(user, "while :; do :; done");
    await user.locator('.job[data-state="running"]').waitFor();
    const busy = (await list()).find(({ tier }) => tier === "pro")?.id ?? "";

    const page = await open(berth.keys.operator);
    await row(page, busy).locator('[data-phase="busy"]').waitFor();
    await eventually(
      async () =>
        expect(await cell(page, busy, "CPU").textContent()).toMatch(/^[01]\.[1-9]\d \/ 2$/),
      { within: 20_000, name: "its CPU" },
    );
    expect(
      Number(await cell(page, busy, "CPU").locator("meter").getAttribute("value")),
    ).toBeGreaterThan(0.1);
    expect(await cell(page, busy, "Memory").textContent()).toMatch(/^\d+ MiB$/);
    expect(await cell(page, busy, "Idle").textContent()).toBe("in use");

    await row(page, busy).getByRole("link").focus();
    const before = await cell(page, busy, "CPU").textContent();
    await eventually(async () => (await cell(page, busy, "CPU").textContent()) !== before, {
      within: 20_000,
      name: "the row was written again",
    });
    expect(await page.evaluate("document.activeElement.textContent")).toContain(busy.slice(-6));

    await page.keyboard.press("Enter");
    await page.getByRole("log").getByText("attempt started").waitFor();
    expect(await page.locator(".facts").textContent()).toContain("dev-pro / dev");
    const pid = findByEnvironment(markerOf(busy));
    expect(pid).toBeGreaterThan(1);
    process.kill(pid as number, "SIGKILL");
    await page.locator('[data-phase="ended"]').waitFor();
    await page.getByText("It has ended").waitFor();
    expect(await page.getByRole("log").textContent()).toContain("attempt started");
    await page.reload();
    await page.getByRole("log").getByText("attempt started").waitFor();
    await user.close();
    await page.close();
  });

  test("a worker that went stays in the table for a while, and leads to its log", async () => {
    const user = await open(berth.keys.pro);
    await submit(user, "echo soon gone");
    await user.locator('.job[data-state="succeeded"]').waitFor();
    const idle = (await list()).find(({ tier }) => tier === "pro")?.id ?? "";
    const page = await open(berth.keys.operator);
    await row(page, idle).locator('[data-phase="idle"]').waitFor();
    expect(await cell(page, idle, "Idle").textContent()).toMatch(/^goes in (10:00|9:\d\d)$/);
    process.kill(findByEnvironment(markerOf(idle)) as number, "SIGKILL");
    await row(page, idle).locator('[data-phase="ended"]').waitFor();
    expect(await cell(page, idle, "Idle").textContent()).toMatch(/^last seen /);
    await row(page, idle).getByRole("link").click();
    await page.getByRole("log").getByText("worker ready").waitFor();
    await page.getByRole("link", { name: "← Overview" }).click();
    await row(page, idle).locator('[data-phase="ended"]').waitFor();
    await page.close();
    await user.close();
  });

  test("starts show their step, dormant ones their number, memory its limit, silent hosts their name", async () => {
    const page = await open(berth.keys.operator);
    const none = {
      host: null,
      driver: null,
      idle_since: null,
      memory_bytes: null,
      cpus_used: null,
    };
    await page.route("**/v1/workers?*", (route) =>
      asContainers(route, [
        { ...none, id: "wrk_new", phase: "starting", step: "creating" },
        { ...none, id: "wrk_hoped", phase: "wanted", step: null },
      ]),
    );
    await row(page, "wrk_new").locator('[data-step="creating"]').waitFor();
    expect(await row(page, "wrk_new").locator('[data-reached="true"]').count()).toBe(2);
    expect(await row(page, "wrk_hoped").textContent()).toContain("waits for capacity");
    expect(await page.locator('[data-dormant="pro"]').textContent()).toBe("2 dormant pro");
    await page.getByText("No answer from n7").waitFor();
    const pool = (await list()).find(({ tier }) => tier === "free")?.id ?? "";
    expect(await cell(page, pool, "Memory").textContent()).toBe("973 MiB / 1.0 GiB");
    expect(await row(page, pool).textContent()).toContain("berth-executor:1");

    await page.setViewportSize({ width: 390, height: 844 });
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(390);
    const box = await cell(page, pool, "Memory").boundingBox();
    expect((box?.x ?? 0) + (box?.width ?? 999)).toBeLessThanOrEqual(390);
    expect(await cell(page, "wrk_new", "Memory").isVisible()).toBe(false);
    await page.close();
  });

  test("a job that waits says for what: room first, then the steps of its worker, then it runs", async () => {
    const first = await open(berth.keys.pro);
    await submit(first, "sleep 300");
    await first.locator('.job[data-state="running"]').waitFor();

    // The fleet of this tenant needs a worker for another agent, and there is room for none.
    const page = await open(berth.keys.enterprise);
    let told: Partial<JobWait> | undefined;
    await page.route("**/v1/jobs/*/wait", async (route) => {
      const answer = await route.fetch();
      await route.fulfill({
        response: answer,
        json: { ...((await answer.json()) as JobWait), ...told },
      });
    });
    await page.getByRole("link", { name: "Console" }).click();
    await page.getByLabel("Agent").selectOption("echo");
    await submit(page, "at last");
    const now = page.locator('.phases [aria-current="step"]');
    await now.getByText("waits for room for one more worker").waitFor();
    expect(await now.textContent()).toMatch(/^Queued/);
    expect(await page.locator(".screen").isVisible()).toBe(false);
    told = { waits_on: "worker", step: "creating" };
    await now.getByText("creating its container").waitFor();
    expect(await now.textContent()).toMatch(/^Worker/);
    told = undefined;

    const operator = await open(berth.keys.operator);
    await operator.locator('#workers [data-phase="wanted"]').waitFor();
    const pro = (await list()).find(({ tier }) => tier === "pro")?.id ?? "";
    await first.getByRole("button", { name: "Cancel" }).click();
    await first.locator('.job[data-state="cancelled"]').waitFor();
    await operator.close();
    process.kill(findByEnvironment(markerOf(pro)) as number, "SIGKILL");
    await page.locator('.job[data-state="succeeded"]').waitFor();
    expect(await page.locator(".phases").isVisible()).toBe(false);
    expect(await page.locator(".screen").textContent()).toContain("at last");
    await first.close();
    await page.close();
  });

  test("no page asked for anything that the content policy refuses, or threw", () => {
    // Of workers that have ended there is no record any more.
    const isKnown = (text: string) => / 404 .*\/v1\/workers\//.test(text);
    expect(browser.complaints.filter((text) => !isKnown(text))).toEqual([]);
  });
});
