// CoreDNS as an image under its pinned name, with the real program in it.
import { fullImageName } from "../../build/release/oci_layout.ts";
import { COREDNS_IMAGE } from "../../core/packaged/versions.ts";
import { cacheDir } from "../support/go_program.ts";
import { ensureImageArchive } from "../support/oci_archive.ts";
import { COREDNS, ensureGoProgram } from "./go_programs.ts";

/** Builds CoreDNS, or finds it in the cache; returns the image's archive. */
export async function ensureCorednsImage(report: (line: string) => void): Promise<string> {
  return await ensureImageArchive({
    names: [fullImageName(COREDNS_IMAGE)],
    entrypoint: ["/coredns"],
    files: { "/coredns": await ensureGoProgram(COREDNS, report) },
  }, cacheDir());
}
