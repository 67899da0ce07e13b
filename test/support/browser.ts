/** Chromium with a fresh profile, and what pages said that they should not have. */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, type Page } from "playwright-core";
import { eventually } from "./eventually.ts";

const PATHS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** The browser of this machine; undefined when it has none. */
export const browserPath = PATHS.find((path) => existsSync(path));

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A container engine on this machine adds or removes a network, and Chromium drops what it is loading. */
const NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED";

/** Loads the page until none of its files was dropped. */
async function load(page: Page, url: string): Promise<void> {
  let isWhole = true;
  page.on("requestfailed", (request) => {
    if (request.failure()?.errorText === NETWORK_CHANGED) isWhole = false;
  });
  await eventually(
    async () => {
      isWhole = true;
      await page.goto(url);
      return isWhole;
    },
    { within: 20_000, name: `${url} is loaded` },
  );
}

export interface Browser extends AsyncDisposable {
  open(url: string): Promise<Page>;
  /** Uncaught errors, and what was written as an error on a console: a refusal by the content policy is one. */
  readonly complaints: readonly string[];
}

export async function startBrowser(): Promise<Browser> {
  const profile = await mkdtemp(join(tmpdir(), "berth-browser-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: browserPath ?? "chromium",
    args: FLAGS,
    viewport: { width: 1_360, height: 900 },
  });
  context.setDefaultTimeout(20_000);
  const complaints: string[] = [];
  return {
    complaints,
    async open(url) {
      const page = await context.newPage();
      page.on("pageerror", (error) => complaints.push(String(error)));
      page.on("console", (message) => {
        const text = `${message.text()} ${message.location().url}`;
        if (message.type() === "error" && !text.includes(NETWORK_CHANGED)) complaints.push(text);
      });
      await load(page, url);
      return page;
    },
    async [Symbol.asyncDispose]() {
      await context.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}
