// What is mounted into the Job: room for helm, credentials, certificates, values and the chart. Pure.
// Facts: helm-controller v0.17.9 `job`; the order counts for the hash, and klipper-helm knows the folders.
import { present } from "../../shared/values.ts";
import type { Job } from "../../kube/types.ts";
import { chartKey } from "../helm_chart.ts";
import { contentConfigMapName, type JobAction } from "../names.ts";
import { type ValuesOwners, valuesSources } from "../values/values_files.ts";

type PodSpec = NonNullable<NonNullable<Job["spec"]>["template"]["spec"]>;
type Volume = NonNullable<PodSpec["volumes"]>[number];

/** A volume and the folder at which it is mounted. */
export interface MountedVolume {
  readonly volume: Volume;
  readonly mountPath: string;
}

const HOME = "/home/klipper-helm";
/** 0644 */
const FILE_MODE = 420;

/** Every volume of the Job, in order. */
export function jobVolumes(owners: ValuesOwners, action: JobAction): readonly MountedVolume[] {
  const { authSecret, dockerRegistrySecret, repoCAConfigMap } = owners.chart.spec ?? {};
  const { name } = chartKey(owners.chart);
  return [
    memory("klipper-helm", `${HOME}/.helm`),
    memory("klipper-cache", `${HOME}/.cache`),
    memory("klipper-config", `${HOME}/.config`),
    memory("tmp", "/tmp"),
    ...(authSecret === undefined ? [] : [
      mounted("/auth", { name: "auth", secret: { secretName: authSecret.name ?? "", defaultMode: FILE_MODE } }),
    ]),
    ...(dockerRegistrySecret === undefined ? [] : [mounted(`${HOME}/.docker`, {
      name: "dockerconfig",
      secret: {
        secretName: dockerRegistrySecret.name ?? "",
        items: [{ key: ".dockerconfigjson", path: "config.json" }],
        defaultMode: FILE_MODE,
      },
    })]),
    ...(repoCAConfigMap === undefined ? [] : [
      mounted("/ca-files", {
        name: "ca-files",
        configMap: { name: repoCAConfigMap.name ?? "", defaultMode: FILE_MODE },
      }),
    ]),
    ...(action === "delete" ? [] : [
      mounted("/config", { name: "values", projected: { sources: projections(owners), defaultMode: FILE_MODE } }),
      mounted("/chart", {
        name: "content",
        configMap: { name: contentConfigMapName(name), defaultMode: FILE_MODE },
      }),
    ]),
  ];
}

type Projection = NonNullable<NonNullable<NonNullable<Volume["projected"]>["sources"]>>[number];

function projections(owners: ValuesOwners): Projection[] {
  return valuesSources(owners).map(({ name, items, optional }) => ({
    secret: { name, ...present({ items: items.length === 0 ? undefined : [...items], optional }) },
  }));
}

function memory(name: string, mountPath: string): MountedVolume {
  return mounted(mountPath, { name, emptyDir: { medium: "Memory" } });
}

function mounted(mountPath: string, volume: Volume): MountedVolume {
  return { volume, mountPath };
}
