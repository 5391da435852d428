// `k3slb images`: what has to be brought along to a host without internet access.
import { NEWEST_VERSION, parseClusterVersion } from "../../core/packaged/cluster_version.ts";
import { artifactsOf } from "../../core/packaged/images.ts";
import { defineCommand } from "../command.ts";
import { EXIT_OK } from "../exit_codes.ts";
import { textFlag } from "../settings/flag.ts";
import { COMMAND_LOG_FLAGS, CONFIG_FLAG, IMAGE_FLAGS, OUTPUT_FLAG } from "../settings/flags.ts";
import { renderForm } from "../output/render_form.ts";
import { renderRows } from "../output/render_rows.ts";

const KUBERNETES_VERSION_FLAG = textFlag(
  "kubernetes-version",
  "Version of the cluster, which decides about Traefik; the newest otherwise",
  {
    default: "",
    check: (text: string) =>
      text === "" || parseClusterVersion(text) !== undefined ? undefined : "must be a version such as 1.31 or v1.31.4",
    commandLineOnly: true,
    placeholder: "VERSION",
  },
);

/** Prints images and charts. */
export const IMAGES_COMMAND = defineCommand({
  path: ["images"],
  summary: "List images and charts that an installation pulls, for hosts without internet access",
  description: [
    "Prints every image that the packaged parts and the load balancer run, and every chart. Needs no cluster. Takes the same",
    "settings as k3slb server, so that it prints what that server would use.",
  ].join("\n"),
  flags: [...IMAGE_FLAGS, KUBERNETES_VERSION_FLAG, OUTPUT_FLAG, CONFIG_FLAG, ...COMMAND_LOG_FLAGS],
  examples: [
    { command: "k3slb images", note: "everything, for the newest Kubernetes" },
    { command: "k3slb images --kubernetes-version 1.31 --disable coredns", note: "for one cluster" },
    { command: "k3slb images --system-default-registry registry.example.com -o json", note: "for programs" },
  ],
  pitfalls: [
    "Charts go into server/static/charts below --data-dir under the printed file names; from there they are used at the next start.",
    "Images of your own charts are not known here.",
  ],
  run: (settings, { host }) => {
    const artifacts = artifactsOf({
      version: parseClusterVersion(settings["kubernetes-version"]) ?? NEWEST_VERSION,
      disable: settings.disable,
      systemDefaultRegistry: settings["system-default-registry"],
      dataplane: settings.dataplane,
      reservePorts: settings["reserve-ports"],
      lbImage: settings["lb-image"],
      pauseImage: settings["pause-image"],
      helmJobImage: settings["helm-job-image"],
    });
    const rows = artifacts.map(({ kind, component, name, repository }) => [kind, component, name, repository]);
    const table = (): string => renderRows(["KIND", "COMPONENT", "NAME", "REPOSITORY"], rows);
    host.stdout(renderForm(artifacts, settings.output, table));
    return Promise.resolve(EXIT_OK);
  },
});
