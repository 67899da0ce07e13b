import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startGatewayRole } from "../../deploy/roles.ts";
import { startBerth, type TestBerth } from "../support/berth.ts";
import { type Browser, browserPath, startBrowser } from "../support/browser.ts";
import { eventually } from "../support/eventually.ts";

const title =
  browserPath === undefined ? "the dashboard (SKIPPED: no Chromium here)" : "the dashboard";

describe.skipIf(browserPath === undefined)(title, () => {
  let berth: TestBerth;
  let browser: Browser;
  beforeAll(async () => {
    berth = await startBerth();
    browser = await startBrowser();
  });
  afterAll(async () => {
    await browser[Symbol.asyncDispose]();
    await berth.stop();
  });

  async function signIn(key: string): Promise<Page> {
    const page = await browser.open(`${berth.url}/dashboard/`);
    await page.getByLabel("API key").fill(key);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("navigation", { name: "Pages" }).waitFor();
    return page;
  }

  async function submit(page: Page, prompt: string): Promise<void> {
    await page.getByLabel("Prompt or script").fill(prompt);
    await page.getByRole("button", { name: "Run", exact: true }).click();
  }

  const job = (page: Page, state: string) => page.locator(`.job[data-state="${state}"]`);

  test("a wrong key is refused in words, and nothing is kept of it", async () => {
    const page = await browser.open(`${berth.url}/dashboard/`);
    await page.getByLabel("API key").fill("brt_no-such-key");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page
      .getByRole("alert")
      .filter({ hasText: /does not take this key/ })
      .waitFor();
    expect(await page.evaluate("sessionStorage.length")).toBe(0);
    await page.close();
  });

  test("a shell job is submitted, its output streams, its final state shows", async () => {
    const page = await signIn(berth.keys.pro);
    await page.getByRole("link", { name: "Console" }).click();
    await submit(page, "echo out-$((6*7)); echo problem-$((6*7)) >&2; exit 3");
    await job(page, "failed").waitFor();
    expect(await page.locator(".screen .stdout").textContent()).toContain("out-42");
    expect(await page.locator(".screen .stderr").textContent()).toContain("problem-42");
    expect(await page.locator(".job footer").textContent()).toContain("exit");
    await page.close();
  });

  test("what an agent prints stays text, never markup", async () => {
    const page = await signIn(berth.keys.pro);
    await page.getByRole("link", { name: "Console" }).click();
    await submit(page, "echo '<img src=x onerror=document.title=1>'");
    await job(page, "succeeded").waitFor();
    expect(await page.locator(".screen").textContent()).toContain("<img src=x");
    expect(await page.locator(".screen img").count()).toBe(0);
    await page.close();
  });

  test("a running job is cancelled by its button", async () => {
    const page = await signIn(berth.keys.pro);
    await page.getByRole("link", { name: "Console" }).click();
    await submit(page, "echo begun; sleep 300");
    await page.locator(".screen").getByText("begun").waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    await job(page, "cancelled").waitFor();
    await page.close();
  });

  test("a session's history is there again after a reload, once", async () => {
    const page = await signIn(berth.keys.pro);
    await page.getByRole("link", { name: "Console" }).click();
    await submit(page, "echo remembered-$((40+2))");
    await job(page, "succeeded").waitFor();
    await page.waitForURL(/#\/session\/ses_/);
    await page.reload();
    await job(page, "succeeded").waitFor();
    await submit(page, "echo again-$((40+2))");
    await eventually(async () => (await job(page, "succeeded").count()) === 2, { within: 20_000 });
    const said = (await page.locator(".transcript").textContent()) ?? "";
    expect(said.match(/remembered-42/g)).toHaveLength(1);
    expect(said.match(/again-42/g)).toHaveLength(1);
    await page.close();
  });

  test("a session that a prompt started is called after it", async () => {
    const page = await signIn(berth.keys.pro);
    await page.getByRole("link", { name: "Console" }).click();
    await submit(page, "echo a session with a name");
    await page.locator(".sessions .title", { hasText: "echo a session with a name" }).waitFor();
    expect(await page.getByLabel("Agent").locator("option").allTextContents()).toContain(
      "shell: run a script",
    );
    await page.close();
  });

  test("an operator sees workers, queues and tenants, and everyone's jobs", async () => {
    const user = await signIn(berth.keys.pro);
    await user.getByRole("link", { name: "Console" }).click();
    await submit(user, "echo for-the-operator; sleep 300");
    await user.locator(".screen").getByText("for-the-operator").waitFor();

    const page = await browser.open(`${berth.url}/#key=${berth.keys.operator}`);
    await page.locator("#workers [data-phase=busy]").waitFor();
    expect(page.url()).not.toContain(berth.keys.operator);
    expect(await page.locator("#queues tbody tr").count()).toBe(3);
    expect(await page.locator("#tenants tbody tr").count()).toBeGreaterThanOrEqual(3);
    await page.locator("#running tbody tr", { hasText: "for-the-operator" }).waitFor();

    await page
      .locator("#running tbody tr", { hasText: "for-the-operator" })
      .getByRole("link")
      .click();
    await page.locator(".screen").getByText("for-the-operator").waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    await job(page, "cancelled").waitFor();
    await job(user, "cancelled").waitFor();
    await page.close();
    await user.close();
  });

  test("no page asked for anything that the content policy refuses, or threw", () => {
    const refused = browser.complaints.filter((text) => !text.includes("401"));
    expect(refused).toEqual([]);
  });

  test("a gateway that is restarted is found again: the page goes on where it was, once each line", async () => {
    const page = await signIn(berth.keys.pro);
    await page.getByRole("link", { name: "Console" }).click();
    await submit(page, "for i in $(seq 1 30); do echo line-$i.; sleep 0.2; done");
    await page.locator(".screen").getByText("line-3.").waitFor();
    await berth.gateway.close();
    await page.getByText("Reconnecting…").waitFor();
    const ports = { port: Number(new URL(berth.url).port), metricsPort: 0 };
    const again = await startGatewayRole(berth.base, berth.role.node.client, ports);
    try {
      await page.getByText("Live", { exact: true }).waitFor();
      await job(page, "succeeded").waitFor();
      const said = (await page.locator(".screen").textContent()) ?? "";
      expect(said.match(/line-\d+\./g)).toEqual(
        Array.from({ length: 30 }, (_, n) => `line-${n + 1}.`),
      );
      await page.close();
    } finally {
      await again.close();
    }
  });
});
