// The load balancer's settings: one type, handed to its pure files as it is. Types only.
import type { ClaimOptions } from "../service/claim.ts";
import type { NodePortRange } from "../service/foreign_ports.ts";
import type { DesiredServiceOptions } from "./desired_service.ts";

/** What the load balancer is told. */
export interface ServiceLbOptions extends DesiredServiceOptions, ClaimOptions {
  /** Ports that are kept for node ports; absent: none are. */
  readonly nodePortRange?: NodePortRange;
  /**
   * Ask the nodes with agents whether they are there.
   * @default {true}
   */
  readonly askNodes?: boolean;
  /** Version of the program, which is told to agents. */
  readonly version?: string;
}
