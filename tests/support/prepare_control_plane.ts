// Gets what the suites on the real control plane need and can't fetch inside a private world: the control plane's programs, built once,
// kubectl in an older release, a fresh Debian, the version before and helm; for the suites on real nodes (their names are the arguments) also kubelet, kube-proxy and images.
import process from "node:process";
import { ensureControlPlaneProgram } from "./control_plane_program.ts";
import { ensureDebianRoot } from "./debian_root.ts";
import { ensureHelmProgram } from "./helm_program.ts";
import { ensureUpstreamImages, ensureUpstreamTests } from "../upstream/images.ts";
import { ensureOlderKubectl } from "./kubectl_programs.ts";
import { ensureNodeImages } from "./node_images.ts";
import { ensureProgramBefore } from "./program_before.ts";
import { ensureProgramImages } from "./program_image.ts";
import { ensureNodePrograms } from "./node_machine.ts";

if (import.meta.main) {
  const report = (line: string): void => void process.stderr.write(`${line}\n`);
  await ensureControlPlaneProgram();
  await ensureOlderKubectl();
  await ensureDebianRoot(report);
  await ensureProgramBefore(report);
  for (const major of [3, 4] as const) await ensureHelmProgram(major);
  if (Deno.args.length > 0) {
    await ensureNodePrograms();
    await ensureNodeImages();
    await ensureProgramImages(report);
  }
  if (Deno.args.includes("upstream")) {
    await ensureUpstreamImages(report);
    await ensureUpstreamTests(report);
  }
}
