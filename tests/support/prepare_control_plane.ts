// Builds the real control plane's programs if they are not there yet, so that no test has to wait for it.
import { ensureControlPlaneProgram } from "./control_plane_program.ts";

if (import.meta.main) await ensureControlPlaneProgram();
