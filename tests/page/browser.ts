// Headless Chromium for tests of the page: each window is watched for requests elsewhere and for complaints.
import { deepEqual } from "node:assert/strict";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

/** Opens `url` in a new window; every request is noted, every complaint of the page fails the test. */
export async function withPage(
  browser: Browser,
  { url, ...options }: BrowserContextOptions & { readonly url: string },
  body: (page: Page, requests: readonly string[]) => Promise<void>,
): Promise<void> {
  const context = await browser.newContext(options);
  try {
    const page = await context.newPage();
    const requests: string[] = [];
    const complaints: string[] = [];
    page.on("request", (request) => void requests.push(request.url()));
    page.on("pageerror", (error) => void complaints.push(error.message));
    page.on("console", (message) => void (message.type() === "error" && complaints.push(message.text())));
    await page.goto(url);
    await body(page, requests);
    deepEqual(complaints, []);
    deepEqual(
      requests.filter((each) => !each.startsWith(url) && !each.startsWith("data:")),
      [],
      "nobody else is asked",
    );
  } finally {
    await context.close();
  }
}

/** Where Debian has it. */
export const CHROMIUM = "/usr/bin/chromium";

/** Runs `body` with a browser that is closed at its end; `executablePath` starts it, somewhere else it may be. */
export async function withBrowser(
  body: (browser: Browser) => Promise<void>,
  executablePath = CHROMIUM,
): Promise<void> {
  const browser = await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
  try {
    await body(browser);
  } finally {
    await browser.close();
  }
}
