// Where kubeconfigs are on nodes of the distributions that this program knows. Data only.

/** Where an administrator's kubeconfig is, for the server: K3s, kubeadm, k0s, MicroK8s. */
export const SERVER_KUBECONFIG_PATHS: readonly string[] = [
  "/etc/rancher/k3s/k3s.yaml",
  "/etc/kubernetes/admin.conf",
  "/var/lib/k0s/pki/admin.conf",
  "/var/snap/microk8s/current/credentials/client.config",
];

/** Where the kubelet's own kubeconfig is, for the agent: K3s, kubeadm, k0s, MicroK8s. */
export const AGENT_KUBECONFIG_PATHS: readonly string[] = [
  "/var/lib/rancher/k3s/agent/kubelet.kubeconfig",
  "/etc/kubernetes/kubelet.conf",
  "/var/lib/k0s/kubelet.conf",
  "/var/snap/microk8s/current/credentials/kubelet.config",
];

/** Where a pod finds its service account. */
export const SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount";
