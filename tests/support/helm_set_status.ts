// Stands for helm's plugin `set-status`: writes another status into the latest record of a release, which helm keeps as JSON, packed and in
// base64, with the status as a label beside it.
// Usage: helm_set_status.ts set-status NAME STATUS --namespace NAMESPACE, in any order.
import { Buffer } from "node:buffer";
import process from "node:process";
import { gunzipSync, gzipSync } from "node:zlib";
import { createKubeClient } from "../../core/kube/client.ts";
import type { KubeClient } from "../../core/kube/contract.ts";
import { loadKubeconfig } from "../../core/kube/access/kubeconfig.ts";
import { SECRETS } from "../../core/kube/resources.ts";
import { SYSTEM_CLOCK } from "../../core/runtime/clock.ts";

/** What to write where. */
export interface ReleaseState {
  readonly namespace: string;
  readonly name: string;
  readonly status: string;
}

/** Writes the status; nothing if there is no release. */
export async function setReleaseStatus(client: KubeClient, { namespace, name, status }: ReleaseState): Promise<void> {
  const { items } = await client.list(SECRETS, { namespace, labelSelector: `owner=helm,name=${name}` });
  const revision = ({ metadata }: (typeof items)[number]): number => Number(metadata?.labels?.["version"] ?? 0);
  const [record] = items.toSorted((a, b) => revision(b) - revision(a));
  if (record === undefined) return;
  const packed = Buffer.from(Buffer.from(record.data?.["release"] ?? "", "base64").toString(), "base64");
  const release = JSON.parse(gunzipSync(packed).toString());
  release.info.status = status;
  const text = gzipSync(JSON.stringify(release)).toString("base64");
  const body = { metadata: { labels: { status } }, data: { release: Buffer.from(text).toString("base64") } };
  const key = { namespace, name: record.metadata?.name ?? "" };
  await client.patch(SECRETS, key, { type: "merge", body });
}

if (import.meta.main) {
  const args = Deno.args.slice(1);
  const at = args.indexOf("--namespace");
  const [, namespace = ""] = args.splice(at, 2);
  const [name = "", status = ""] = args;
  const access = await loadKubeconfig({ env: process.env, defaultPaths: [], clock: SYSTEM_CLOCK });
  const client = createKubeClient({ access, clock: SYSTEM_CLOCK });
  await setReleaseStatus(client, { namespace, name, status });
  client.close();
}
