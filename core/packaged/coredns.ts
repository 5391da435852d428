// The manifest of CoreDNS. Pure. Names, resources and Corefile as K3s has them (k3s `manifests/coredns.yaml`), so that what is
// known about customising it holds. Other than there, a missing NodeHosts key does not keep the pod from starting.
import type { ConfigMap } from "../kube/types.ts";
import { FIELD_MANAGER } from "../kube/contract.ts";
import { COREDNS_IMAGE, COREDNS_IMAGE_BEFORE_1_21 } from "./versions.ts";
import { type ClusterVersion, isAtLeast } from "./cluster_version.ts";

/** Name of the ConfigMap with Corefile and NodeHosts. */
export const COREDNS_CONFIG_MAP = "coredns";
/** Name of the ConfigMap for changes by users. */
export const COREDNS_CUSTOM_CONFIG_MAP = "coredns-custom";
/** Keys of {@linkcode COREDNS_CONFIG_MAP}. */
const COREFILE_KEY = "Corefile";
export const NODE_HOSTS_KEY = "NodeHosts";

/** The image of CoreDNS for a cluster. */
export function corednsImage(version: ClusterVersion): string {
  return isAtLeast(version, 21) ? COREDNS_IMAGE : COREDNS_IMAGE_BEFORE_1_21;
}

/** What of the Corefile can be chosen. */
export interface CorefileSettings {
  readonly clusterDomain: string;
  /** Name servers for names outside the cluster; empty: those of the node. */
  readonly dnsUpstreams: readonly string[];
  /** Names that are answered from here; they win over names of nodes. */
  readonly dnsHosts: readonly { readonly name: string; readonly ip: string }[];
}

/** The Corefile. */
export function corefile({ clusterDomain, dnsUpstreams, dnsHosts }: CorefileSettings): string {
  // The plugin takes lines of a hosts file before `fallthrough`, and only there.
  const hosts = dnsHosts.map(({ name, ip }) => `      ${ip} ${name.toLowerCase()}\n`).join("");
  const upstreams = dnsUpstreams.length === 0 ? "/etc/resolv.conf" : dnsUpstreams.join(" ");
  return `.:53 {
    errors
    health
    ready
    kubernetes ${clusterDomain} in-addr.arpa ip6.arpa {
      pods insecure
      fallthrough in-addr.arpa ip6.arpa
    }
    hosts /etc/coredns/${NODE_HOSTS_KEY} {
${hosts}      ttl 60
      reload 15s
      fallthrough
    }
    prometheus :9153
    forward . ${upstreams}
    cache 30
    loop
    reload
    loadbalance
    import /etc/coredns/custom/*.override
}
import /etc/coredns/custom/*.server
`;
}

/** The text of `coredns.yaml`, with variables in it. */
export function corednsManifest(version: ClusterVersion, settings: Omit<CorefileSettings, "clusterDomain">): string {
  return `# CoreDNS, as packaged. Written anew at each start: put changes into a ConfigMap "${COREDNS_CUSTOM_CONFIG_MAP}" in kube-system, with
# keys that end in .override (lines for the server block) or .server (server blocks of your own).
apiVersion: v1
kind: ServiceAccount
metadata:
  name: coredns
  namespace: kube-system
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: system:coredns
  labels:
    kubernetes.io/bootstrapping: rbac-defaults
rules:
- apiGroups: [""]
  resources: [endpoints, services, pods, namespaces]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: system:coredns
  labels:
    kubernetes.io/bootstrapping: rbac-defaults
  annotations:
    rbac.authorization.kubernetes.io/autoupdate: "true"
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: system:coredns
subjects:
- kind: ServiceAccount
  name: coredns
  namespace: kube-system
---
# For programs that ask where the cluster's DNS is.
apiVersion: v1
kind: ConfigMap
metadata:
  name: cluster-dns
  namespace: kube-system
data:
  clusterDNS: "%{CLUSTER_DNS}%"
  clusterDomain: "%{CLUSTER_DOMAIN}%"
---
# The key ${NODE_HOSTS_KEY} is added from the cluster's Nodes.
apiVersion: v1
kind: ConfigMap
metadata:
  name: ${COREDNS_CONFIG_MAP}
  namespace: kube-system
data:
  ${COREFILE_KEY}: |
${indented(corefile({ ...settings, clusterDomain: "%{CLUSTER_DOMAIN}%" }), 4)}---
# No replicas: how many there are is yours to scale.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: coredns
  namespace: kube-system
  labels:
    k8s-app: kube-dns
    kubernetes.io/name: CoreDNS
spec:
  revisionHistoryLimit: 0
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 1
  selector:
    matchLabels:
      k8s-app: kube-dns
  template:
    metadata:
      labels:
        k8s-app: kube-dns
    spec:
      priorityClassName: system-cluster-critical
      serviceAccountName: coredns
      dnsPolicy: Default
      nodeSelector:
        kubernetes.io/os: linux
      tolerations:
      - key: CriticalAddonsOnly
        operator: Exists
      - key: node-role.kubernetes.io/control-plane
        operator: Exists
        effect: NoSchedule
      - key: node-role.kubernetes.io/master
        operator: Exists
        effect: NoSchedule
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: DoNotSchedule
        labelSelector:
          matchLabels:
            k8s-app: kube-dns
      containers:
      - name: coredns
        image: "%{SYSTEM_DEFAULT_REGISTRY}%${corednsImage(version)}"
        imagePullPolicy: IfNotPresent
        args: [-conf, /etc/coredns/Corefile]
        resources:
          requests:
            cpu: 100m
            memory: 70Mi
          limits:
            memory: 170Mi
        ports:
        - name: dns
          containerPort: 53
          protocol: UDP
        - name: dns-tcp
          containerPort: 53
          protocol: TCP
        - name: metrics
          containerPort: 9153
          protocol: TCP
        volumeMounts:
        - name: config-volume
          mountPath: /etc/coredns
          readOnly: true
        - name: custom-config-volume
          mountPath: /etc/coredns/custom
          readOnly: true
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities:
            add: [NET_BIND_SERVICE]
            drop: [ALL]
        livenessProbe:
          httpGet:
            path: /health
            port: 8080
            scheme: HTTP
          initialDelaySeconds: 60
          periodSeconds: 10
          timeoutSeconds: 1
          successThreshold: 1
          failureThreshold: 3
        readinessProbe:
          httpGet:
            path: /ready
            port: 8181
            scheme: HTTP
          periodSeconds: 2
          timeoutSeconds: 1
          successThreshold: 1
          failureThreshold: 3
      volumes:
      # Two sources, so that a missing ${NODE_HOSTS_KEY} key does not keep the pod from starting.
      - name: config-volume
        projected:
          sources:
          - configMap:
              name: ${COREDNS_CONFIG_MAP}
              items:
              - key: ${COREFILE_KEY}
                path: ${COREFILE_KEY}
          - configMap:
              name: ${COREDNS_CONFIG_MAP}
              optional: true
              items:
              - key: ${NODE_HOSTS_KEY}
                path: ${NODE_HOSTS_KEY}
      - name: custom-config-volume
        configMap:
          name: ${COREDNS_CUSTOM_CONFIG_MAP}
          optional: true
---
apiVersion: v1
kind: Service
metadata:
  name: kube-dns
  namespace: kube-system
  labels:
    k8s-app: kube-dns
    kubernetes.io/cluster-service: "true"
    kubernetes.io/name: CoreDNS
  annotations:
    prometheus.io/port: "9153"
    prometheus.io/scrape: "true"
spec:
  selector:
    k8s-app: kube-dns
  clusterIP: "%{CLUSTER_DNS}%"
  clusterIPs: %{CLUSTER_DNS_LIST}%
  ipFamilyPolicy: %{CLUSTER_DNS_IPFAMILYPOLICY}%
  ports:
  - name: dns
    port: 53
    protocol: UDP
  - name: dns-tcp
    port: 53
    protocol: TCP
  - name: metrics
    port: 9153
    protocol: TCP
`;
}

function indented(text: string, width: number): string {
  return text.replaceAll(/^(?=.)/gm, " ".repeat(width));
}

/**
 * The sentence for the Event about an edited Corefile; `undefined` if nobody but a deployer wrote it. `managedFields` are asked, not the text
 * alone: right after an update of this program the old text is still there and nobody has edited it.
 */
export function corefileDrift(configMap: ConfigMap, packaged: string): string | undefined {
  const text = configMap.data?.[COREFILE_KEY];
  if (text === packaged) return undefined;
  const editor = configMap.metadata?.managedFields?.find((entry) =>
    !isDeployer(entry.manager ?? "") && ownsCorefile(entry.fieldsV1)
  );
  if (editor === undefined && text !== undefined) return undefined;
  const by = editor?.manager === undefined ? "" : ` by "${editor.manager}"`;
  return `${COREFILE_KEY} of ConfigMap ${COREDNS_CONFIG_MAP} was ${text === undefined ? "removed" : `edited${by}`}; ` +
    `the change is lost at the next start. Put it into ConfigMap ${COREDNS_CUSTOM_CONFIG_MAP} in the same namespace instead: ` +
    "keys ending in .override are read inside the server block, keys ending in .server beside it";
}

function isDeployer(manager: string): boolean {
  return manager === FIELD_MANAGER || manager.startsWith("deploy@");
}

function ownsCorefile(fields: object | undefined): boolean {
  const data: unknown = fields === undefined ? undefined : (fields as Readonly<Record<string, unknown>>)["f:data"];
  return typeof data === "object" && data !== null && `f:${COREFILE_KEY}` in data;
}
