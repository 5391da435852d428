// The page with 300 Services on 20 nodes: light and dark, on a phone, by keyboard.
import { deepEqual, equal, ok } from "node:assert/strict";
import process from "node:process";
import { SYSTEM_CLOCK } from "../../core/runtime/clock.ts";
import { startHealthServer } from "../../core/runtime/health.ts";
import type { ServiceAnswer } from "../../core/service_lb/answers/explain_service.ts";
import type { PageFacts } from "../../core/status/render_page.ts";
import { createStatusPage } from "../../core/status/status_page.ts";
import { ensureTools } from "../support/prerequisites.ts";
import { waitUntil } from "../support/wait.ts";
import { withBrowser, withPage } from "./browser.ts";

/** A cluster of 20 nodes with 300 Services; `wrong` of them are not served. */
function largeFacts(wrong: number): PageFacts {
  const names = Array.from({ length: 20 }, (_, index) => `node-${String(index).padStart(2, "0")}`);
  const answers = Array.from({ length: 300 }, (_, index): ServiceAnswer => {
    const isServed = index >= wrong;
    const reason = isServed ? "Served" : "PortTaken";
    return {
      namespace: `team-${index % 7}`,
      name: `service-${index}`,
      ports: [`${1000 + index}/TCP`],
      families: ["IPv4"],
      trafficPolicy: "Cluster",
      ours: true,
      served: { status: isServed ? "True" : "False", reason, message: "said" },
      problem: !isServed,
      addresses: isServed ? ["192.0.2.1", "192.0.2.2"] : [],
      endpoints: { ready: 1, terminating: 0, closed: 0 },
      nodes: names.map((node) =>
        isServed ? { node, serves: true } : { node, serves: false, reason, message: "another has it", remedy: "wait" }
      ),
    };
  });
  const nodes = names.map((name) => ({ name, state: "Forwarding", message: "", problem: false }));
  const server = { name: "server", state: "Active", message: "", problem: false };
  return {
    version: "1.0.0",
    isLeading: true,
    answers,
    status: { server, nodes, services: [], charts: [], addOns: [] },
  };
}

Deno.test({
  name: "page: 300 Services on 20 nodes, light and dark, on a phone, by keyboard",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    ensureTools(["browser"], (line) => void process.stdout.write(`${line}\n`));
    const stop = new AbortController();
    let wrong = 0;
    const failures: unknown[] = [];
    const page = createStatusPage({
      read: () => Promise.resolve(largeFacts(wrong)),
      clock: SYSTEM_CLOCK,
      onFailure: (error) => void failures.push(error),
    });
    const options = { checks: [], renderMetrics: () => "", page, signal: stop.signal };
    const { port, done } = await startHealthServer({ ...options, address: "127.0.0.1:0" });
    const url = `http://127.0.0.1:${port}/`;
    try {
      await withBrowser(async (browser) => {
        const inks: string[] = [];
        for (const colorScheme of ["light", "dark"] as const) {
          await withPage(browser, { url, colorScheme, viewport: { width: 1600, height: 900 } }, async (page) => {
            const map = page.getByRole("table", { name: /^Ports by node/ });
            equal(await map.getByRole("row").count(), 301);
            equal(await map.getByRole("columnheader").count(), 21);
            const [ink, paper, contrast] = await page.evaluate(CONTRAST) as [string, string, number];
            ok(contrast >= 4.5, `${colorScheme}: ${ink} on ${paper}`);
            inks.push(ink);
          });
        }
        equal(new Set(inks).size, 2, "dark differs from light");
        await withPage(browser, { url, viewport: { width: 390, height: 844 }, hasTouch: true }, async (page) => {
          const width = await page.evaluate("document.documentElement.scrollWidth");
          ok(Number(width) <= 390, `the page is ${width} wide`);
          await page.getByText("live", { exact: true }).waitFor();
          await page.keyboard.press("Tab");
          equal(await page.evaluate("document.activeElement.textContent"), "To the tables");
          await page.keyboard.press("Tab");
          equal(await page.evaluate("document.activeElement.getAttribute('aria-labelledby')"), "map");
          const before = Number(await page.evaluate("document.activeElement.scrollLeft"));
          await page.keyboard.press("ArrowRight");
          // Not in the page: its policy lets nobody evaluate a text.
          await waitUntil(
            "the table to scroll",
            async () => Number(await page.evaluate("document.activeElement.scrollLeft")) > before,
          );
          wrong = 2;
          await page.getByText("298 of 300 Services served").waitFor();
          await page.getByRole("row", { name: /team-0\/service-0 ✗ PortTaken/ }).waitFor();
        });
      });
      deepEqual(failures, []);
    } finally {
      stop.abort();
      await done;
    }
  },
});

/** Text colour, ground, and the least contrast (WCAG 2) of text, good and bad on it. */
const CONTRAST = `(() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (text) => {
    const [r, g, b] = numbers(text).map((x) => x / 255).map((x) => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = getComputedStyle(document.body).backgroundColor;
  const colours = ["body", ".good"].map((each) => getComputedStyle(document.querySelector(each)).color);
  const ratios = colours.map((ink) => {
    const [a, b] = [light(ink), light(paper)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  });
  return [colours[0], paper, Math.min(...ratios)];
})()`;
