// Images that Kubernetes' own tests need on the nodes: agnhost, made of the program in the same module and the tools that the tests call in
// its pods, and CoreDNS for the cluster's DNS Service.
import { fileURLToPath } from "node:url";
import { ensureCorednsImage } from "../packaged/coredns_image.ts";
import { cacheDir, ensureGoProgram, KUBERNETES_BUILD_FLAGS } from "../support/go_program.ts";
import { programFiles, SHELL } from "../support/node_images.ts";
import { ensureImageArchive } from "../support/oci_archive.ts";
import { waitingTestsFlags } from "./waiting_tests.ts";

/** As `k8s.io/kubernetes/test/utils/image` of the pinned version names them. */
const AGNHOST_IMAGE = "registry.k8s.io/e2e-test-images/agnhost:2.63.0";
const BUSYBOX_IMAGE = "registry.k8s.io/e2e-test-images/busybox:1.37.0-1";
/** Sends packets that belong to no connection (kubernetes/kubernetes issue 74839). */
const BAD_PACKETS_IMAGE = "registry.k8s.io/e2e-test-images/regression-issue-74839:1.4";
const TOOLS = ["/usr/bin/bash", "/usr/bin/curl", "/usr/bin/nc.openbsd", "/usr/bin/wget", "/usr/sbin/ip"];

/** Archives of the images. */
export async function ensureUpstreamImages(report: (line: string) => void): Promise<readonly string[]> {
  const agnhost = await ensureTestProgram("agnhost", report);
  const badPackets = await ensureTestProgram("regression-issue-74839", report);
  const wgetrc = fileURLToPath(new URL("wgetrc", import.meta.url));
  const files: Record<string, string> = { "/agnhost": agnhost, "/etc/wgetrc": wgetrc, ...SHELL.files };
  for (const tool of TOOLS) Object.assign(files, await programFiles(tool));
  // Not busybox's shell: that one takes its own nc and ip, whatever lies in /bin. Nor its wget, which some builds of Debian end by a fault.
  const { "/bin/ip": _ip, "/bin/nc": _nc, "/bin/sh": _sh, "/bin/wget": _wget, ...applets } = SHELL.links;
  return await Promise.all([
    ensureImageArchive({
      names: [AGNHOST_IMAGE, BUSYBOX_IMAGE],
      entrypoint: ["/agnhost"],
      // What a pod runs that names no command.
      args: ["pause"],
      files,
      links: {
        ...applets,
        "/agnhost-2": "agnhost",
        "/bin/bash": "/usr/bin/bash",
        "/bin/sh": "/usr/bin/bash",
        "/bin/ip": "/usr/sbin/ip",
        "/bin/nc": "/usr/bin/nc.openbsd",
        "/bin/wget": "/usr/bin/wget",
      },
    }, cacheDir()),
    ensureImageArchive({
      names: [BAD_PACKETS_IMAGE],
      entrypoint: ["/program"],
      files: { "/program": badPackets },
    }, cacheDir()),
    ensureCorednsImage(report),
  ]);
}

/** A program that Kubernetes' tests run in pods. */
function ensureTestProgram(name: string, report: (line: string) => void): Promise<string> {
  return ensureGoProgram({
    name: "upstream",
    title: name,
    flags: KUBERNETES_BUILD_FLAGS,
    target: ["build", `k8s.io/kubernetes/test/images/${name}`],
  }, report);
}

/** The program that runs Kubernetes' tests of Services. */
export async function ensureUpstreamTests(report: (line: string) => void): Promise<string> {
  return await ensureGoProgram({
    name: "upstream",
    title: "Kubernetes' own tests",
    flags: [...KUBERNETES_BUILD_FLAGS, ...await waitingTestsFlags()],
    target: ["test", "."],
  }, report);
}
