// The frame of the page to look at: one file of HTML, style and script that asks nobody but its own server. Without the script it is a page of
// tables as of its loading. Pure.

/** The script of the page; its hash is in the policy that goes with it. */
export const PAGE_SCRIPT = `
const main = document.querySelector("main"), live = document.querySelector("#live");
const events = new EventSource("events");
events.onopen = () => { live.textContent = "live"; };
events.onerror = () => { live.textContent = "not connected, trying again"; };
events.addEventListener("page", (event) => { main.innerHTML = JSON.parse(event.data); });
events.addEventListener("rows", (event) => {
  for (const [id, html] of JSON.parse(event.data)) {
    const row = document.getElementById(id);
    // What was opened to be read stays open.
    const isOpen = row?.querySelector("details")?.open;
    if (row) row.outerHTML = html;
    const details = document.getElementById(id)?.querySelector("details");
    if (details && isOpen !== undefined) details.open = isOpen;
  }
});
`;

const STYLE = `
:root { color-scheme: light dark; --ink: #1a1d21; --paper: #fff; --line: #c9ced6; --head: #eef1f5; --good: #0a6b2d; --bad: #a8210f; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --paper: #14171b; --line: #3b424c; --head: #20252c; --good: #6fd58d; --bad: #ff9a86; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 110rem; background: var(--paper); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; gap: .3rem 1rem; align-items: baseline; }
h1 { font-size: 1.3rem; margin: 0; }
#live { margin: 0; }
#summary { font-size: 1.1rem; }
.scroll { overflow: auto; max-height: 80vh; margin: 1.2rem 0; border: 1px solid var(--line); border-radius: .3rem; }
:focus-visible { outline: 3px solid Highlight; outline-offset: 1px; }
table { border-collapse: collapse; min-width: 100%; }
caption { text-align: left; font-weight: 600; padding: .5rem .6rem; }
small { font-weight: 400; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-top: 1px solid var(--line); }
thead th { position: sticky; top: 0; background: var(--head); }
tbody th { font-weight: 600; white-space: nowrap; }
td span { display: block; white-space: nowrap; }
.good { color: var(--good); }
.bad { color: var(--bad); }
ul { margin: .3rem 0; padding-left: 1.1rem; }
code { overflow-wrap: anywhere; }
.skip { position: absolute; left: -99rem; }
.skip:focus { position: static; }
@media (max-width: 40rem) { body { padding: .6rem; font-size: 14px; } }
`;

/** The page around `main`, which is HTML. */
export function renderFrame(main: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>k3slb</title>
<link rel="icon" href="data:,">
<style>${STYLE}</style>
</head>
<body>
<a class="skip" href="#main">To the tables</a>
<header><h1>k3slb</h1><p id="live">as of loading</p></header>
<main id="main">
${main}
</main>
<script>${PAGE_SCRIPT}</script>
</body>
</html>
`;
}
