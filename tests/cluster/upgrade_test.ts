// From the version before to this one, the server first or the agents first: connections go on, addresses stay, and both serve what comes then.
// The version before is built from the checkout's history (K3SLB_COMMIT_BEFORE names another commit of it), or is the binary that K3SLB_PROGRAM_BEFORE
// names.
import process from "node:process";
import { enterWorld } from "../support/netns.ts";
import { programBefore } from "../support/program_before.ts";
import { upgradeUnderTraffic } from "../support/upgrade_traffic.ts";
import type { World } from "../support/world.ts";
import { worldSuite, type WorldTest } from "../support/world_suite.ts";

/** Steps of an upgrade. */
const STEPS = { server: upgradeServer, agents: upgradeAgents } as const;

/** Runs `make` with another program than the one under test. */
async function withProgram(program: string | undefined, make: () => Promise<unknown>): Promise<void> {
  const usual = process.env["K3SLB_PROGRAM"];
  if (program !== undefined) process.env["K3SLB_PROGRAM"] = program;
  try {
    await make();
  } finally {
    if (usual === undefined) delete process.env["K3SLB_PROGRAM"];
    else process.env["K3SLB_PROGRAM"] = usual;
  }
}

async function upgradeServer(world: World): Promise<void> {
  await world.servers.at(-1)?.stop();
  await world.startServer();
}

async function upgradeAgents(world: World): Promise<void> {
  for (const node of world.nodes) {
    await node.stopAgent();
    await node.startAgent();
  }
}

async function upgrade(given: WorldTest, order: readonly (keyof typeof STEPS)[]): Promise<void> {
  const { world } = given;
  await withProgram(programBefore(), async () => {
    await upgradeServer(world);
    await upgradeAgents(world);
  });
  await upgradeUnderTraffic(given, order.map((step) => () => STEPS[step](world)));
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2, servers: 0, agents: true });
  const options = programBefore() === undefined
    ? {
      skip:
        "there is no version before: tests/run.ts with the suite nodes builds it, or K3SLB_PROGRAM_BEFORE names one",
    }
    : {};
  for (const order of [["server", "agents"], ["agents", "server"]] as const) {
    test(
      `upgrade, the ${order[0]} first: 0 failed connections, addresses stay`,
      (given) => upgrade(given, order),
      options,
    );
  }
}
