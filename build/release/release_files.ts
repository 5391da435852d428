// What a release puts on a host, file by file: one list for the archive, the Debian package and the RPM.
import { readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { renderCompletion } from "../../cli/output/render_completion.ts";
import { manPages } from "../../cli/output/render_man.ts";
import { COMMANDS } from "../../cli/commands.ts";
import { environmentText } from "../../cli/install/install_plan.ts";
import { renderSystemdUnit, type UnitName } from "../../core/shared/systemd_unit.ts";

/** One file of a package. */
export interface ReleaseFile {
  /** Where a package of the distribution puts it, absolute; absent: not there. */
  readonly path?: string;
  /** Where it stands in the archive that is unpacked by hand; absent: not there. */
  readonly inArchive?: string;
  readonly mode: number;
  /** Text, or the path of the file that is copied. */
  readonly content: { readonly text: string } | { readonly file: string };
  /** Changed by administrators: an upgrade keeps what they wrote. */
  readonly isConfig?: true;
}

/** What the list is made for. */
export interface ReleaseFilesOptions {
  readonly version: string;
  /** Time of the sources, seconds since 1970. */
  readonly epochSeconds: number;
  /** Folder of the sources. */
  readonly root: string;
  /** Path of the binary. */
  readonly binary: string;
  /** Path of the licence notices. */
  readonly notices: string;
}

/** Units of the program. */
export const UNITS: readonly UnitName[] = ["k3slb-server", "k3slb-agent"];

/** Every file, the binary first. */
export function releaseFiles(options: ReleaseFilesOptions): readonly ReleaseFile[] {
  const { root, binary, notices, version } = options;
  const date = new Date(options.epochSeconds * 1000).toISOString().slice(0, 10);
  const doc = "/usr/share/doc/k3slb";
  return [
    { path: PROGRAM, inArchive: "k3slb", mode: 0o755, content: { file: binary } },
    ...UNITS.flatMap(unitFiles),
    {
      path: "/usr/share/k3slb/rbac.yaml",
      inArchive: "k3slb-rbac.yaml",
      mode: 0o644,
      content: { file: join(root, "deploy/rbac.yaml") },
    },
    ...COMPLETIONS.map(({ shell, path }): ReleaseFile => ({
      path,
      inArchive: `completions/k3slb.${shell}`,
      mode: 0o644,
      content: { text: renderCompletion(shell) },
    })),
    ...manPages(COMMANDS, { version, date }).map(({ file, text }): ReleaseFile => ({
      path: `/usr/share/man/man1/${file}`,
      inArchive: `man/${file}`,
      mode: 0o644,
      content: { text },
    })),
    ...[...pages(root).map((name) => [name, join(root, name)]), ["THIRD_PARTY_NOTICES.txt", notices]].map(
      ([name = "", file = ""]): ReleaseFile => ({
        path: `${doc}/${name}`,
        inArchive: name,
        mode: 0o644,
        content: { file },
      }),
    ),
  ];
}

/** Pages for users at the top of the sources. */
const TOP_PAGES = ["README.md", "LICENSE", "CHANGELOG.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"];

/** README, all that it leads to, and what that leads to: every link of a shipped page has its target beside it. */
function pages(root: string): readonly string[] {
  const below = ["docs", "deploy"].flatMap((folder) =>
    readdirSync(`${root}/${folder}`, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => relative(root, `${parentPath}/${name}`))
  );
  return [...TOP_PAGES, ...below.sort()];
}

/** Where packages put the program. */
const PROGRAM = "/usr/bin/k3slb";

const COMPLETIONS = [
  { shell: "bash", path: "/usr/share/bash-completion/completions/k3slb" },
  { shell: "zsh", path: "/usr/share/zsh/vendor-completions/_k3slb" },
  { shell: "fish", path: "/usr/share/fish/vendor_completions.d/k3slb.fish" },
] as const;

/** The unit of a package starts the packaged program; the one in the archive starts what was put into /usr/local/bin. */
function unitFiles(name: UnitName): readonly ReleaseFile[] {
  const file = `${name}.service`;
  return [
    {
      path: `/usr/lib/systemd/system/${file}`,
      mode: 0o644,
      content: { text: renderSystemdUnit(name, { program: PROGRAM }) },
    },
    {
      inArchive: file,
      mode: 0o644,
      content: { text: renderSystemdUnit(name) },
    },
    {
      path: `/etc/default/${name}`,
      mode: 0o600,
      isConfig: true,
      content: { text: environmentText(name === "k3slb-agent" ? "agent" : "server", "systemd") },
    },
  ];
}
