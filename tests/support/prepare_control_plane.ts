// Gets what the suite on the real control plane needs and can't fetch inside a private world: the control plane's programs, built once,
// and helm.
import { ensureControlPlaneProgram } from "./control_plane_program.ts";
import { ensureHelmProgram } from "./helm_program.ts";

if (import.meta.main) {
  await ensureControlPlaneProgram();
  await ensureHelmProgram();
}
