// Which image the placeholders run: one that the nodes have already, so that nothing is pulled, also where there is no internet access. Pure.
// Facts: a kubelet lists its images in the Node's status (at most 50, the largest first) and needs a pause image for every pod itself.
// A node says itself what it has, so an image counts only if every node names it: no node alone decides what the others run. Nor does a tenant,
// whose pods may bring any image to all nodes: it must be a pause image of those who publish Kubernetes.
import type { Node } from "../../kube/types.ts";

/** Pause images among the names that a node gives its images, bounded. */
export function pauseImagesOf(node: Node): readonly string[] {
  const names = (node.status?.images ?? []).flatMap(({ names }) => names ?? []);
  return names.filter((name) => name.length <= MAX_NAME_LENGTH && PAUSE_IMAGE_REGEXP.test(name)).slice(0, MAX_NAMES);
}

/**
 * The image for the placeholders.
 *
 * @param given What the settings name.
 * @param current What the DaemonSet has; kept while every node has it, as another one would replace all pods.
 */
export function choosePauseImage(nodes: Iterable<Node>, given: string, current: string | undefined): string {
  let common: readonly string[] | undefined;
  for (const node of nodes) {
    // A node that lists no image has not told yet, or its kubelet lists none.
    if ((node.status?.images ?? []).length === 0) continue;
    const names = pauseImagesOf(node);
    common = common === undefined ? names : common.filter((name) => names.includes(name));
  }
  // Somebody else's edit is no choice of ours.
  const kept = current !== undefined && PAUSE_IMAGE_REGEXP.test(current) ? current : undefined;
  if (common === undefined || common.length === 0) return kept ?? given;
  if (kept !== undefined && common.includes(kept)) return kept;
  return common.includes(given) ? given : common.toSorted()[0] ?? given;
}

/** Where nobody else can publish: upstream's registries, and those of K3s, RKE2, k0s, EKS, AKS, GKE and Alibaba; EKS's newer nodes bring theirs along. */
const PUBLISHERS = [
  "registry\\.k8s\\.io",
  "k8s\\.gcr\\.io",
  "gcr\\.io/google_containers",
  "gke\\.gcr\\.io",
  "(?:(?:index\\.)?docker\\.io/)?rancher",
  "quay\\.io/k0sproject",
  "602401143452\\.dkr\\.ecr\\.[a-z0-9-]+\\.amazonaws\\.com/eks",
  "localhost/kubernetes",
  "mcr\\.microsoft\\.com/oss(?:/v2)?/kubernetes",
  "registry(?:\\.[a-z0-9-]+)?\\.aliyuncs\\.com/google_containers",
];
/** By name and tag, such as `registry.k8s.io/pause:3.10`, `docker.io/rancher/mirrored-pause:3.6`. */
const PAUSE_IMAGE_REGEXP = new RegExp(`^(?:${PUBLISHERS.join("|")})/(?:mirrored-)?pause(?:-[a-z0-9]+)?:[\\w.-]+$`);
const MAX_NAME_LENGTH = 256;
const MAX_NAMES = 8;
