// An RPM of the release files, by `rpmbuild` (rpm-spec(5)). RPM has no purge: the last removal takes the rules away.
import { dirname } from "node:path";
import { runTool } from "../run_tool.ts";
import { type PackageOptions, XZ_LEVEL } from "./package_options.ts";
import { UNITS } from "./release_files.ts";
import { stageFiles } from "./stage.ts";

/** Writes `k3slb-VERSION-1.ARCH.rpm` into `out` and returns its path. */
export async function writeRpmPackage(options: PackageOptions): Promise<string> {
  const { files, version, arch, out, work, epochSeconds } = options;
  const machine = arch === "x64" ? "x86_64" : "aarch64";
  const tree = `${work}/rpm-tree`;
  await stageFiles(files, { folder: tree, pathOf: ({ path }) => path });
  const paths = files.flatMap(({ path, isConfig, mode }) =>
    path === undefined ? [] : [`${isConfig ? "%config(noreplace) " : ""}%attr(${mode.toString(8)}, root, root) ${path}`]
  );
  const folders = ownFolders(files).map((path) => `%dir ${path}`);
  await Deno.writeTextFile(`${work}/k3slb.spec`, specFile(version, { paths: [...folders, ...paths], tree }));
  const macros: readonly (readonly [string, string])[] = [
    ["_topdir", `${work}/rpm`],
    ["_rpmdir", out],
    ["_rpmfilename", `k3slb-%{VERSION}-%{RELEASE}.${machine}.rpm`],
    ["_buildhost", "localhost"],
    ["use_source_date_epoch_as_buildtime", "1"],
    ["clamp_mtime_to_source_date_epoch", "1"],
    // The program carries its own runtime behind its ELF sections: stripping would cut it off.
    ["__os_install_post", "%{nil}"],
    ["debug_package", "%{nil}"],
    ["_build_id_links", "none"],
    ["_binary_payload", options.compress === false ? "w1.gzdio" : `w${XZ_LEVEL}.xzdio`],
  ];
  const defines = macros.flatMap(([name, value]) => ["--define", `${name} ${value}`]);
  await runTool(["rpmbuild", "-bb", "--target", `${machine}-linux`, ...defines, `${work}/k3slb.spec`], {
    env: { SOURCE_DATE_EPOCH: String(epochSeconds) },
    hint: 'Install rpmbuild (Debian: package "rpm")',
  });
  return `${out}/k3slb-${version}-1.${machine}.rpm`;
}

/** Folders that nobody else puts anything into: RPM removes those that it was told of. */
function ownFolders(files: PackageOptions["files"]): readonly string[] {
  const folders = new Set<string>();
  for (const { path = "" } of files) {
    for (let folder = dirname(path); folder.includes("/k3slb"); folder = dirname(folder)) folders.add(folder);
  }
  return [...folders].sort();
}

function specFile(
  version: string,
  { paths, tree }: { readonly paths: readonly string[]; readonly tree: string },
): string {
  const units = UNITS.map((name) => `${name}.service`).join(" ");
  return `Name: k3slb
Version: ${version}
Release: 1
Summary: Service load balancer on the nodes' own addresses for Kubernetes
License: Apache-2.0
Group: System/Network
AutoReqProv: no
Requires: glibc
Recommends: iptables
Recommends: conntrack-tools
Recommends: iproute

%description
K3s's service load balancer, manifests folder, CoreDNS and Traefik for any Kubernetes cluster. Nothing is started by the installation:
enable k3slb-server or k3slb-agent.

%install
cp -a ${tree}/. %{buildroot}/

%post
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  if [ "$1" -gt 1 ]; then systemctl try-restart ${units} || :; fi
fi

%preun
if [ "$1" -eq 0 ]; then
  if [ -d /run/systemd/system ]; then systemctl disable --now ${units} || :; fi
  /usr/bin/k3slb agent cleanup || echo "k3slb: the forwarding rules could not be removed; a restart of the host removes them" >&2
fi

%postun
if [ -d /run/systemd/system ]; then systemctl daemon-reload || :; fi

%files
${paths.join("\n")}
`;
}
