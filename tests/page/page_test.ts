// The page on the metrics address of the running server, in a real browser: who has and who waits, live and without script, asking nobody else.
import { deepEqual, match } from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { SERVICES } from "../../core/kube/resources.ts";
import { freePorts } from "../support/control_plane.ts";
import { ensureTools } from "../support/prerequisites.ts";
import { type Program, startProgram } from "../support/programs.ts";
import { waitUntil } from "../support/wait.ts";
import { plainEnvironment, programCommand } from "../support/world_node.ts";
import { loadBalancer, withCluster } from "../unit/core/service_lb/controller_cluster.ts";
import { withBrowser, withPage } from "./browser.ts";

Deno.test({
  name: "page: shows who has and who waits, follows changes and a restart, and is tables without script",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    ensureTools(["browser"], (line) => void process.stdout.write(`${line}\n`));
    const dir = mkdtempSync(join(tmpdir(), "k3slb-page-"));
    const address = `127.0.0.1:${(await freePorts(1))[0]}`;
    const url = `http://${address}/`;
    await withCluster(3, async (cluster) => {
      writeFileSync(join(dir, "kubeconfig"), await cluster.kubeconfig());
      const start = (): Program =>
        startProgram({
          name: "server",
          command: [
            ...programCommand(),
            ...["server", "--kubeconfig", join(dir, "kubeconfig"), "--data-dir", dir, "--node-name", "server"],
            ...["--metrics-address", address, "--disable", "coredns,traefik", "--ask-nodes=false"],
          ],
          logFile: join(dir, "log"),
          env: plainEnvironment(),
        });
      let server = start();
      try {
        for (const [name, port] of [["web", 80], ["dns", 53], ["mail", 25]] as const) {
          await cluster.admin.create(SERVICES, loadBalancer(name, port));
          await waitUntil(`${name} to be served`, async () => (await cluster.ips(name)).split(" ").length === 3, {
            explain: () => server.logTail(),
          });
        }
        await cluster.admin.create(SERVICES, loadBalancer("late", 80));
        await withBrowser(async (browser) => {
          await withPage(browser, { url, viewport: { width: 1280, height: 800 } }, async (page) => {
            await page.getByText("live", { exact: true }).waitFor();
            const services = page.getByRole("table", { name: /^Services/ });
            const late = services.getByRole("row", { name: /^default\/late / });
            await late.getByText("✗ PortTaken").waitFor();
            match(await late.innerText(), /0 of 3.*To do:.*Service web in namespace default/s);
            const cells = page.getByRole("table", { name: /^Ports by node/ }).getByRole("row", { name: /^80\/TCP/ })
              .getByRole("cell");
            deepEqual(
              (await cells.allInnerTexts()).map((text) => text.split("\n")),
              [1, 2, 3].map(() => ["✓ default/web", "✗ default/late PortTaken"]),
            );
            match(await page.getByRole("status").innerText(), /^3 of 4 Services served, 3 nodes\. 1 need/);
            await cluster.admin.delete(SERVICES, { namespace: "default", name: "web" });
            await late.getByText("✓ Served").waitFor();
          });
          await withPage(browser, { url, javaScriptEnabled: false }, async (page, requests) => {
            const services = page.getByRole("table", { name: /^Services/ });
            await services.getByRole("row", { name: /^default\/late ✓ Served/ }).waitFor();
            deepEqual(requests, [url]);
          });
          const context = await browser.newContext();
          const page = await context.newPage();
          await page.goto(url);
          await page.getByText("live", { exact: true }).waitFor();
          await server.stop();
          await page.getByText("not connected, trying again").waitFor();
          server = start();
          await page.getByText("live", { exact: true }).waitFor({ timeout: 60_000 });
          await page.getByRole("row", { name: /^default\/late ✓ Served/ }).waitFor({ timeout: 60_000 });
          await context.close();
        });
      } finally {
        await server.stop();
      }
    });
    rmSync(dir, { recursive: true, force: true });
  },
});
