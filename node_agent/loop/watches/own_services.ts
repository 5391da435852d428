// Which Services concern this node, kept up to date with every change: those whose pods are here, or, where the agent decides, those that this
// node is chosen for; and those that it served until now. Whose endpoints are kept follows from it.
import type { ObjectChange } from "../../../core/kube/object_store.ts";
import type { Node, Pod, Service } from "../../../core/kube/types.ts";
import type { Clock } from "../../../core/runtime/clock.ts";
import type { ClusterFacts } from "../../../core/service/cluster_facts.ts";
import { objectKey, servedServiceKey, type ServiceKey } from "../../../core/service/keys.ts";
import { servedAddressesOf, statusLists } from "../../../core/service/node_addresses.ts";
import { lastReport } from "../../../core/service/node_report.ts";
import { serviceChoice, type ServiceShare } from "../../../core/service/node_share.ts";
import { portIds } from "../../../core/service/port_owners.ts";
import { serviceId } from "../../../core/service/service_id.ts";
import { present } from "../../../core/shared/values.ts";
import type { DepartedService } from "../plan/contenders.ts";
import { DepartedServices } from "./departed_services.ts";
import { podHolds } from "../plan/forwarding_plan.ts";
import { heldPorts, isPlaceholder } from "../plan/load_balancer_pods.ts";

/** What {@linkcode OwnServices} takes; the maps are the watches' own and change under it. */
export interface OwnServicesOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly nodeName: string;
  readonly pods: () => ReadonlyMap<string, Pod>;
  readonly services: () => ReadonlyMap<string, Service>;
  readonly node: () => Node | undefined;
  /** `undefined`: the pods decide. */
  readonly facts: () => ClusterFacts | undefined;
  /** Ports (`80/TCP`) of a Service that the kernel has. */
  readonly served: (service: Service) => ReadonlySet<string>;
  /** Told of a Service that this node is chosen for from now on and does not forward yet. */
  readonly onChosen: (service: Service) => void;
  /** Told that other Services concern this node than before; `service`: the one whose change is the cause, if it is a single one. */
  readonly onChange: (service?: ServiceKey) => void;
}

/** The Services that concern this node. */
export class OwnServices {
  readonly #options: OwnServicesOptions;
  readonly #departed: DepartedServices;
  /** Those that this node is chosen for; none while the pods decide. */
  readonly #chosen = new Set<ServiceKey>();
  #isFilled = false;

  constructor(options: OwnServicesOptions) {
    this.#options = options;
    this.#departed = new DepartedServices({
      clock: options.clock,
      signal: options.signal,
      isCountedOn: ({ service, servedAddresses }) =>
        statusLists(options.services().get(service), options.node(), servedAddresses),
      onExpire: () => options.onChange(),
    });
  }

  /** All of them. */
  keys(): ReadonlySet<ServiceKey> {
    const keys = new Set([...this.#chosen, ...this.#departed.list().map(({ service }) => service)]);
    for (const pod of this.#options.pods().values()) {
      const key = this.decides(pod) ? this.#heldFor(pod) : undefined;
      if (key !== undefined) keys.add(key);
    }
    return keys;
  }

  /** Those that it served until now. */
  departed(): readonly DepartedService[] {
    return this.#departed.list();
  }

  /** All objects are known: from now on each change is looked at. */
  fill(): void {
    this.#isFilled = true;
    const { services, served } = this.#options;
    for (const [key, service] of services()) {
      // What an earlier run served leaves as if this one had: clients may be counting on it.
      if (served(service).size > 0) this.#chosen.add(key);
      this.#judge(key);
    }
  }

  /** Any of the Services may concern this node now or no longer: the node or the facts are others. */
  refresh(): void {
    if (!this.#isFilled) return;
    const { services } = this.#options;
    let isOther = false;
    for (const key of new Set([...this.#chosen, ...services().keys()])) {
      if (!this.#judge(key)) continue;
      this.#tellChosen(services().get(key));
      isOther = true;
    }
    if (isOther) this.#options.onChange();
  }

  noteService({ before, after }: ObjectChange<Service>): void {
    const key = objectKey(after ?? before ?? {});
    if (!this.#isFilled || !this.#judge(key)) return;
    this.#tellChosen(after);
    this.#options.onChange(key);
  }

  notePod({ before, after }: ObjectChange<Pod>): void {
    if (!this.decides(after ?? before ?? {})) return;
    const { nodeName } = this.#options;
    // A pod ends before it goes, and one that the kubelet refuses never held anything.
    if (after !== undefined && podHolds(after, nodeName)) this.#departed.remove(servedServiceKey(after) ?? "");
    else if (before !== undefined && podHolds(before, nodeName)) this.#podLeft(before);
    if (this.#heldFor(before) !== this.#heldFor(after)) this.#options.onChange();
  }

  #podLeft(pod: Pod): void {
    const service = servedServiceKey(pod);
    if (service === undefined) return;
    const servedAddresses = servedAddressesOf(pod);
    this.#departed.add(present({ service, ports: heldPorts([pod]), hadPod: true, servedAddresses }));
  }

  /** Whether the Service concerns this node now and did not before, or the other way round. */
  #judge(key: ServiceKey): boolean {
    const service = this.#options.services().get(key);
    const part = service === undefined ? "none" : this.#partOf(service);
    const was = this.#chosen.has(key);
    if (part === "serve") {
      this.#chosen.add(key);
      this.#departed.remove(key);
      return !was;
    }
    this.#chosen.delete(key);
    // Whoever takes a Service away, or from us, means it.
    if (part === "none") this.#departed.remove(key, { hadPod: false });
    else if (was && service !== undefined) this.#serviceLeft(service);
    return was;
  }

  #tellChosen(service: Service | undefined): void {
    const { served, onChosen } = this.#options;
    if (service === undefined || !this.#chosen.has(objectKey(service))) return;
    const here = served(service);
    if (!portIds(service).some((port) => here.has(port))) onChosen(service);
  }

  /** Once the pods decide again, those without a pod here leave as if it had gone. */
  #partOf(service: Service): ServiceShare["part"] | "pods" {
    const { facts, node, served, pods } = this.#options;
    const [known, own] = [facts(), node()];
    if (known === undefined) {
      if (!this.#chosen.has(objectKey(service))) return "pods";
      const key = objectKey(service);
      return [...pods().values()].some((pod) => this.#heldFor(pod) === key) ? "none" : "pods";
    }
    return own === undefined ? "elsewhere" : serviceChoice(service, { node: own, facts: known, served }).part;
  }

  #serviceLeft(service: Service): void {
    const here = this.#options.served(service);
    const ports = new Set(portIds(service).filter((port) => here.has(port)));
    if (ports.size === 0) return;
    const said = lastReport(this.#options.node())?.services.get(serviceId(service));
    const servedAddresses = said?.serves ? said.servedAddresses : undefined;
    this.#departed.add(present({ service: objectKey(service), ports, hadPod: false, servedAddresses }));
  }

  /** Whether a pod decides that its Service is forwarded: where the agent does, those of others' load balancers still do. */
  decides(pod: Pod): boolean {
    return this.#options.facts() === undefined || !isPlaceholder(pod);
  }

  #heldFor(pod: Pod | undefined): ServiceKey | undefined {
    return pod !== undefined && podHolds(pod, this.#options.nodeName) ? servedServiceKey(pod) : undefined;
  }
}
