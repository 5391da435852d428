// The manifest of CoreDNS. Pure. Names and resources as K3s has them (k3s `manifests/coredns.yaml`); other than there, a missing NodeHosts key
// does not keep the pod from starting.
import type { ClusterVersion } from "./cluster_version.ts";
import {
  COREDNS_CONFIG_MAP,
  COREDNS_CUSTOM_CONFIG_MAP,
  corednsImage,
  corefile,
  COREFILE_KEY,
  type CorefileSettings,
  NODE_HOSTS_KEY,
} from "./coredns.ts";

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
