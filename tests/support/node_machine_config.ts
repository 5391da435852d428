// What the programs of a real node are told: containerd, its network plugins, kubelet, kube-proxy. Pure.
import { join } from "node:path";

/** Where containerd listens. */
export const CONTAINERD_SOCKET = "/run/containerd/containerd.sock";

/** What containerd runs as the first container of each pod. */
export const SANDBOX_IMAGE = "registry.k8s.io/pause:k3slb-test-1";

/** Of which Services have their cluster addresses. */
export const SERVICE_RANGES = { IPv4: "10.43.0.0/16", IPv6: "fd43::/112" } as const;

/** Address of the cluster's DNS, as K3s has it. */
export const CLUSTER_DNS_IP = "10.43.0.10";

/** How kube-proxy programs Services. */
export type KubeProxyMode = "iptables" | "nftables";

/** What kube-proxy is started with. */
export interface KubeProxyOptions {
  readonly mode: KubeProxyMode;
  readonly kubeconfig: string;
  readonly clusterCidrs: readonly string[];
}

/** What is known of the machine's network. */
export interface MachineHost {
  readonly ip4: string;
  /** One for each family. */
  readonly podCidrs: readonly string[];
}

/** What kubelet's configuration is made of. */
export interface KubeletConfig {
  readonly host: MachineHost;
  /** Folder of the machine. */
  readonly dir: string;
  /** Certificate of the authority that signs the API server's client certificates. */
  readonly clientCaFile: string;
  /** The cgroup below which all pods are. */
  readonly cgroup: string;
  /** How many pods it takes. */
  readonly maxPods: number;
}

export function renderContainerdConfig(dir: string): string {
  const strings = (values: readonly string[]): string => JSON.stringify(values);
  return `version = 2
root = ${JSON.stringify(join(dir, "root"))}
state = "/run/containerd/state"
disabled_plugins = ${
    strings(["btrfs", "zfs", "devmapper", "aufs"].map((name) => `io.containerd.snapshotter.v1.${name}`))
  }
[grpc]
  address = "${CONTAINERD_SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = ${JSON.stringify(join(dir, "opt"))}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${SANDBOX_IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = ${JSON.stringify(join(dir, "cni"))}
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
`;
}

/** A bridge with an address range a family, as flannel's CNI plugin sets it up, and host ports. */
export function renderCniConfig(host: MachineHost): string {
  const routes = host.podCidrs.map((cidr) => ({ dst: cidr.includes(":") ? "::/0" : "0.0.0.0/0" }));
  const bridge = {
    type: "bridge",
    bridge: "cni0",
    isGateway: true,
    hairpinMode: true,
    ipam: { type: "host-local", ranges: host.podCidrs.map((subnet) => [{ subnet }]), routes },
  };
  const portmap = { type: "portmap", capabilities: { portMappings: true } };
  return JSON.stringify({ cniVersion: "0.4.0", name: "pods", plugins: [bridge, portmap] });
}

export function renderKubeletConfig({ host, dir, clientCaFile, cgroup, maxPods }: KubeletConfig): string {
  return JSON.stringify({
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    address: host.ip4,
    healthzBindAddress: "127.0.0.1",
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: clientCaFile },
    },
    authorization: { mode: "Webhook" },
    cgroupDriver: "cgroupfs",
    cgroupRoot: cgroup,
    failCgroupV1: false,
    failSwapOn: false,
    enforceNodeAllocatable: ["pods"],
    clusterDNS: [CLUSTER_DNS_IP],
    clusterDomain: "cluster.local",
    containerRuntimeEndpoint: `unix://${CONTAINERD_SOCKET}`,
    // Without one CoreDNS would ask itself.
    resolvConf: join(dir, "resolv.conf"),
    volumePluginDir: join(dir, "plugins"),
    // Nothing that is shared with the rest of the machine may end a test.
    evictionHard: {
      "memory.available": "1Mi",
      "nodefs.available": "1%",
      "imagefs.available": "1%",
      "nodefs.inodesFree": "1%",
    },
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    allowedUnsafeSysctls: ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"],
    maxPods,
    kubeAPIQPS: 50,
    kubeAPIBurst: 100,
  });
}

export function renderKubeProxyConfig(node: string, options: KubeProxyOptions): string {
  return JSON.stringify({
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    mode: options.mode,
    clusterCIDR: options.clusterCidrs.join(","),
    hostnameOverride: node,
    clientConnection: { kubeconfig: options.kubeconfig },
    // A network namespace can't set these of the kernel.
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
    metricsBindAddress: "127.0.0.1:10249",
    iptables: { minSyncPeriod: "200ms" },
    nftables: { minSyncPeriod: "200ms" },
  });
}
