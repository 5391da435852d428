// A Debian package (deb(5), Debian Policy chapters 5, 6 and 10) of the release files, by `dpkg-deb`.
import { runTool } from "../run_tool.ts";
import { type PackageOptions, XZ_LEVEL } from "./package_options.ts";
import { UNITS } from "./release_files.ts";
import { stageFiles } from "./stage.ts";

/** Writes `k3slb_VERSION_ARCH.deb` into `out` and returns its path. */
export async function writeDebianPackage(options: PackageOptions): Promise<string> {
  const { files, version, arch, out, work, epochSeconds } = options;
  const tree = `${work}/deb`;
  await stageFiles(files, { folder: tree, pathOf: ({ path }) => path });
  const installedKib = Math.ceil(await sizeOf(tree) / 1024);
  const conffiles = files.flatMap(({ path, isConfig }) => (isConfig && path !== undefined ? [path] : []));
  const control = { control: controlFile({ version, arch, installedKib }), conffiles: `${conffiles.join("\n")}\n` };
  await Deno.mkdir(`${tree}/DEBIAN`);
  for (const [name, text] of Object.entries({ ...control, ...SCRIPTS })) {
    await Deno.writeTextFile(`${tree}/DEBIAN/${name}`, text);
    await Deno.chmod(`${tree}/DEBIAN/${name}`, name in SCRIPTS ? 0o755 : 0o644);
  }
  const file = `${out}/k3slb_${version}_${arch === "x64" ? "amd64" : "arm64"}.deb`;
  await runTool([
    "dpkg-deb",
    "--root-owner-group",
    ...(options.compress === false ? ["-Znone"] : ["-Zxz", `-z${XZ_LEVEL}`]),
    "--build",
    tree,
    file,
  ], {
    env: { SOURCE_DATE_EPOCH: String(epochSeconds) },
    hint: 'Install dpkg-deb (package "dpkg")',
  });
  return file;
}

function controlFile({ version, arch, installedKib }: {
  readonly version: string;
  readonly arch: "x64" | "arm64";
  readonly installedKib: number;
}): string {
  return [
    "Package: k3slb",
    `Version: ${version}`,
    `Architecture: ${arch === "x64" ? "amd64" : "arm64"}`,
    "Maintainer: k3slb contributors <k3slb@users.noreply.github.com>",
    "Section: net",
    "Priority: optional",
    `Installed-Size: ${installedKib}`,
    "Depends: libc6",
    "Recommends: iptables, conntrack, iproute2",
    "Description: Service load balancer on the nodes' own addresses for Kubernetes",
    " K3s's service load balancer, manifests folder, CoreDNS and Traefik for any",
    " Kubernetes cluster. The server gives Services of type LoadBalancer the",
    " addresses of the nodes; the agent on each node forwards to the pods.",
    " Nothing is started by the installation: enable k3slb-server or k3slb-agent.",
    "",
  ].join("\n");
}

async function sizeOf(folder: string): Promise<number> {
  let bytes = 0;
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    bytes += isDirectory ? await sizeOf(`${folder}/${name}`) : (await Deno.stat(`${folder}/${name}`)).size;
  }
  return bytes;
}

/**
 * The program outlives its removal as a second name in this folder, so that a purge can still take the rules away. `DPKG_ROOT` is set when
 * a package is put into another root than the running one (dpkg(1), --root).
 */
const KEPT = '"$DPKG_ROOT/var/lib/k3slb"';
const RUNNING = '[ -z "$DPKG_ROOT" ] && [ -d /run/systemd/system ]';
const NAMES = UNITS.map((name) => `${name}.service`).join(" ");

const SCRIPTS: Readonly<Record<string, string>> = {
  postinst: `#!/bin/sh
set -e
rm -rf ${KEPT}
if ${RUNNING}; then
  systemctl daemon-reload
  # An upgrade: what runs goes on with the new program; nothing else is started.
  if [ "$1" = configure ] && [ -n "$2" ]; then systemctl try-restart ${NAMES} || true; fi
fi
`,
  prerm: `#!/bin/sh
set -e
if [ "$1" = remove ]; then
  if ${RUNNING}; then systemctl disable --now ${NAMES} || true; fi
  mkdir -p -m 0700 ${KEPT}
  ln -f "$DPKG_ROOT/usr/bin/k3slb" ${KEPT}/k3slb || cp "$DPKG_ROOT/usr/bin/k3slb" ${KEPT}/k3slb
fi
`,
  postrm: `#!/bin/sh
set -e
if [ "$1" = purge ] && [ -x ${KEPT}/k3slb ]; then
  ${KEPT}/k3slb agent cleanup || echo "k3slb: the forwarding rules could not be removed; a restart of the host removes them" >&2
  rm -rf ${KEPT}
fi
if ${RUNNING}; then systemctl daemon-reload || true; fi
`,
};
