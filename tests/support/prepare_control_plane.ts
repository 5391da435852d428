// Gets what the suites on the real control plane need and can't fetch inside a private world: the control plane's programs, built once,
// and helm; with the word `nodes` also kubelet, kube-proxy and the images of real nodes.
import { ensureControlPlaneProgram } from "./control_plane_program.ts";
import { ensureHelmProgram } from "./helm_program.ts";
import { ensureNodeImages } from "./node_images.ts";
import { ensureNodePrograms } from "./node_machine.ts";

if (import.meta.main) {
  await ensureControlPlaneProgram();
  for (const major of [3, 4] as const) await ensureHelmProgram(major);
  if (Deno.args.includes("nodes")) {
    await ensureNodePrograms();
    await ensureNodeImages();
  }
}
