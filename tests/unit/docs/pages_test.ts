// The pages for people: links that lead somewhere, and a README that is read without scrolling sideways.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const MAX_LINE = 100;

async function pages(): Promise<readonly string[]> {
  const found: string[] = [];
  for (const folder of [ROOT, `${ROOT}docs/`, `${ROOT}docs/decisions/`, `${ROOT}docs/monitoring/`]) {
    for await (const { name } of Deno.readDir(folder)) if (name.endsWith(".md")) found.push(`${folder}${name}`);
  }
  return found.sort();
}

/** The text outside of blocks of code. */
function prose(text: string): string {
  return text.replaceAll(/^ *```[^]*?^ *```$/gm, "");
}

/** Anchors that GitHub makes of headings. */
function anchorsOf(text: string): readonly string[] {
  return [...prose(text).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading.toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")
  );
}

/** Lines that are too long: code and what can't be broken aside. */
function longLines(text: string): readonly string[] {
  return prose(text).split("\n").filter((line) => line.length > MAX_LINE && / /.test(line.trim()));
}

Deno.test("anchorsOf, longLines: as GitHub and as readers have it", () => {
  const text = `# The condition \`k3slb.io/Served\`\n${"word ".repeat(25)}\n${"a".repeat(120)}\n\`\`\`\n# ${
    "x ".repeat(99)
  }\n\`\`\`\n`;
  assert.deepEqual(anchorsOf(text), ["the-condition-k3slbioserved"]);
  assert.equal(longLines(text).length, 1);
});

Deno.test("pages: links lead to files and headings that are there", async () => {
  const broken: string[] = [];
  for (const page of await pages()) {
    const text = await Deno.readTextFile(page);
    for (const [, link = ""] of prose(text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link)) continue;
      const [path = "", anchor] = link.split("#");
      const target = path === "" ? page : resolve(dirname(page), path);
      const isThere = existsSync(target) &&
        (anchor === undefined || anchorsOf(await Deno.readTextFile(target)).includes(anchor));
      if (!isThere) broken.push(`${page.slice(ROOT.length)}: ${link}`);
    }
  }
  assert.deepEqual(broken, []);
});

Deno.test("README: no line is longer than 100 characters", async () => {
  assert.deepEqual(longLines(await Deno.readTextFile(`${ROOT}README.md`)), []);
});
