// The picture of the page in the documentation: taken of the running demo, so that it shows what the demo leaves.
import { equal, match, ok } from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { worldObstacle } from "../support/netns.ts";
import { ensureTools } from "../support/prerequisites.ts";
import { waitUntil } from "../support/wait.ts";
import { CHROMIUM, withBrowser, withPage } from "./browser.ts";

const DEMO = fileURLToPath(new URL("../demo/demo.ts", import.meta.url));
const PICTURE = fileURLToPath(new URL("../../docs/page.png", import.meta.url));
const URL_IN_DEMO = "http://127.0.0.1:10260/";

const obstacle = await worldObstacle();

Deno.test({
  name: `page: its picture is taken of the running demo${obstacle === undefined ? "" : ` (skipped: ${obstacle})`}`,
  ignore: obstacle !== undefined,
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    ensureTools(["browser"], (line) => void process.stdout.write(`${line}\n`));
    const dir = mkdtempSync(join(tmpdir(), "k3slb-picture-"));
    const demo = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", DEMO, "--keep"],
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const said = { text: "" };
    const reading = (async () => {
      for await (const part of demo.stdout.pipeThrough(new TextDecoderStream())) said.text += part;
    })();
    try {
      await waitUntil("the demo to be played", () => said.text.includes("To end it"), {
        deadlineMs: 120_000,
        explain: () => said.text,
      });
      // Its way into the demo's world, as far as the network goes: the browser's files and processes are of here.
      const enter = /(nsenter -t \S+ .*-n) -m -p --/.exec(said.text.replaceAll(/\s+/g, " "))?.[1];
      ok(enter !== undefined, said.text);
      const browser = join(dir, "browser");
      writeFileSync(browser, `#!/bin/sh\nexec ${enter} -- ${CHROMIUM} "$@"\n`, { mode: 0o755 });
      await withBrowser(
        (browser) =>
          withPage(browser, { url: URL_IN_DEMO, viewport: { width: 1280, height: 800 } }, async (page) => {
            await page.getByText("live", { exact: true }).waitFor();
            const services = page.getByRole("table", { name: /^Services/ });
            await services.getByRole("row", { name: /^demo\/web ✓ Served/ }).waitFor();
            match(await page.getByRole("status").innerText(), / Services served, 3 nodes\./);
            await page.screenshot({ path: PICTURE });
          }),
        browser,
      );
    } finally {
      demo.kill("SIGINT");
      const { code } = await demo.status;
      await reading;
      rmSync(dir, { recursive: true, force: true });
      equal(code, 0, said.text);
    }
  },
});
