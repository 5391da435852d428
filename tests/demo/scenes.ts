// The demo's scenes in the order of the story. Each uses what the ones before it left in the cluster.
import type { Scene } from "./scene.ts";
import { AGENT_KILLED_SCENE } from "./scenes/agent_killed.ts";
import { ANSWERS_SCENE } from "./scenes/answers.ts";
import { CHAINS_SCENE } from "./scenes/chains.ts";
import { LABEL_GOES_SCENE } from "./scenes/label_goes.ts";
import { MANIFESTS_SCENE } from "./scenes/manifests.ts";
import { NODE_DIES_SCENE } from "./scenes/node_dies.ts";
import { NODES_SCENE } from "./scenes/nodes.ts";
import { PACKAGED_SCENE } from "./scenes/packaged.ts";
import { POD_MOVES_SCENE } from "./scenes/pod_moves.ts";
import { PORT_FREED_SCENE, PORT_TAKEN_SCENE } from "./scenes/port_taken.ts";
import { SERVICES_SCENE } from "./scenes/services.ts";

/** All scenes. */
export const SCENES: readonly Scene[] = [
  NODES_SCENE,
  SERVICES_SCENE,
  ANSWERS_SCENE,
  PORT_TAKEN_SCENE,
  POD_MOVES_SCENE,
  PORT_FREED_SCENE,
  LABEL_GOES_SCENE,
  AGENT_KILLED_SCENE,
  NODE_DIES_SCENE,
  CHAINS_SCENE,
  PACKAGED_SCENE,
  MANIFESTS_SCENE,
];
