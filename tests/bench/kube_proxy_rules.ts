// The rules that others make, for comparison: kube-proxy's iptables mode (chains and their order as its documentation and `iptables-save` on
// a node show them), hostPort chains of the CNI plugin "portmap", and what a klipper-lb container writes into its pod. Pure.

/** A Service as kube-proxy sees it. */
export interface ProxiedService {
  readonly name: string;
  readonly clusterIp: string;
  readonly port: number;
  readonly protocols: readonly ("tcp" | "udp")[];
  /** `address:port` of each endpoint. */
  readonly endpoints: readonly string[];
  /** The load balancer's address, if the status has one. */
  readonly ingressIp?: string;
}

/** One port that "portmap" brings from the node into a pod. */
export interface HostPort {
  readonly port: number;
  readonly podIp: string;
}

const POD_RANGE = "10.42.0.0/16";

/** Input for `iptables-restore --noflush`: everything that kube-proxy has for `services`. The jumps are made too: use it once per namespace. */
export function renderKubeProxyRules(services: readonly ProxiedService[]): string {
  const chains: string[] = [];
  const dispatch: string[] = [];
  const rules: string[] = [];
  for (const service of services) {
    for (const protocol of service.protocols) addService(service, protocol, { chains, dispatch, rules });
  }
  return [
    "*nat",
    ":KUBE-SERVICES - [0:0]",
    ":KUBE-NODEPORTS - [0:0]",
    ":KUBE-POSTROUTING - [0:0]",
    ":KUBE-MARK-MASQ - [0:0]",
    ...chains.map((chain) => `:${chain} - [0:0]`),
    '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
    "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
    "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
    "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
    "-A KUBE-POSTROUTING -j MASQUERADE --random-fully",
    ...dispatch,
    "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
    ...rules,
    "COMMIT",
    "*filter",
    ":KUBE-FORWARD - [0:0]",
    ":KUBE-PROXY-FIREWALL - [0:0]",
    "-A FORWARD -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL",
    "-A FORWARD -j KUBE-FORWARD",
    "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
    "-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT",
    "-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "COMMIT",
    "",
  ].join("\n");
}

interface Texts {
  readonly chains: string[];
  readonly dispatch: string[];
  readonly rules: string[];
}

function addService(service: ProxiedService, protocol: "tcp" | "udp", texts: Texts): void {
  const { name, clusterIp, port, ingressIp, endpoints } = service;
  const id = `${name}-${protocol}`.toUpperCase().slice(0, 16);
  const comment = (words: string): string => `-m comment --comment "default/${name}:${protocol} ${words}"`;
  texts.chains.push(`KUBE-SVC-${id}`);
  texts.dispatch.push(
    `-A KUBE-SERVICES -d ${clusterIp}/32 -p ${protocol} ${
      comment("cluster IP")
    } -m ${protocol} --dport ${port} -j KUBE-SVC-${id}`,
  );
  if (ingressIp !== undefined) {
    texts.chains.push(`KUBE-EXT-${id}`);
    texts.dispatch.push(
      `-A KUBE-SERVICES -d ${ingressIp}/32 -p ${protocol} ${
        comment("loadbalancer IP")
      } -m ${protocol} --dport ${port} -j KUBE-EXT-${id}`,
    );
    texts.rules.push(
      `-A KUBE-EXT-${id} ${comment("masquerade traffic for external destinations")} -j KUBE-MARK-MASQ`,
      `-A KUBE-EXT-${id} -j KUBE-SVC-${id}`,
    );
  }
  texts.rules.push(
    `-A KUBE-SVC-${id} ! -s ${POD_RANGE} -d ${clusterIp}/32 -p ${protocol} ${
      comment("cluster IP")
    } -m ${protocol} --dport ${port} -j KUBE-MARK-MASQ`,
  );
  endpoints.forEach((endpoint, i) => {
    const chain = `KUBE-SEP-${id}-${i}`;
    const left = endpoints.length - i;
    const share = left === 1 ? "" : ` -m statistic --mode random --probability ${(1 / left).toFixed(10)}`;
    texts.chains.push(chain);
    texts.rules.push(
      `-A KUBE-SVC-${id} ${comment(`-> ${endpoint}`)}${share} -j ${chain}`,
      `-A ${chain} -s ${endpoint.split(":")[0]}/32 ${comment("")} -j KUBE-MARK-MASQ`,
      `-A ${chain} -p ${protocol} ${comment("")} -m ${protocol} -j DNAT --to-destination ${endpoint}`,
    );
  });
}

/** Input for `iptables-restore --noflush`: the chains that "portmap" makes for one pod per port, as its version 1.1 writes them. */
export function renderHostPortRules(ports: readonly HostPort[]): string {
  const chains = ports.map(({ port }) => `CNI-DN-BENCH${port}`);
  return [
    "*nat",
    ":CNI-HOSTPORT-DNAT - [0:0]",
    ":CNI-HOSTPORT-SETMARK - [0:0]",
    ":CNI-HOSTPORT-MASQ - [0:0]",
    ...chains.map((chain) => `:${chain} - [0:0]`),
    "-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
    "-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
    '-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ',
    '-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000',
    "-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE",
    ...ports.flatMap(({ port, podIp }, i) => [
      `-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"cbr0\\" id: \\"bench-${port}\\"" -m multiport --dports ${port} -j ${
        chains[i]
      }`,
      `-A ${chains[i]} -s 10.42.0.0/16 -p tcp -m tcp --dport ${port} -j CNI-HOSTPORT-SETMARK`,
      `-A ${chains[i]} -s 127.0.0.1/32 -p tcp -m tcp --dport ${port} -j CNI-HOSTPORT-SETMARK`,
      `-A ${chains[i]} -p tcp -m tcp --dport ${port} -j DNAT --to-destination ${podIp}:${port}`,
    ]),
    "COMMIT",
    "",
  ].join("\n");
}

/** Input for `iptables-restore` in the load balancer's pod: what klipper-lb's containers write, one for each protocol of a port. */
export function renderBalancerPodRules(service: ProxiedService): string {
  const { clusterIp, port, protocols } = service;
  return [
    "*nat",
    ...protocols.flatMap((protocol) => [
      `-A PREROUTING -p ${protocol} -m ${protocol} --dport ${port} -j DNAT --to-destination ${clusterIp}:${port}`,
      `-A POSTROUTING -d ${clusterIp}/32 -p ${protocol} -j MASQUERADE`,
    ]),
    "COMMIT",
    "*filter",
    ...protocols.flatMap((protocol) => [
      `-A FORWARD -s 0.0.0.0/0 -p ${protocol} -m ${protocol} --dport ${port} -j ACCEPT`,
      `-A FORWARD -d ${clusterIp}/32 -p ${protocol} -m ${protocol} --dport ${port} -j DROP`,
    ]),
    "COMMIT",
    "",
  ].join("\n");
}
