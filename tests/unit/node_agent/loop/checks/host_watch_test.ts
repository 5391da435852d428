// When the host's sockets are read for the Services of a node.
import assert from "node:assert/strict";
import { HostWatch } from "../../../../../node_agent/loop/checks/host_watch.ts";
import type { WantedPort } from "../../../../../node_agent/host/host_ports.ts";
import { createFakeClock } from "../../../../support/fake_clock.ts";

const wanted = (...ports: readonly number[]): readonly WantedPort[] => ports.map((port) => ({ protocol: "TCP", port }));

Deno.test("HostWatch.lookFor() reads the sockets for a port that it has not looked at, and never for fewer ports", async () => {
  const read: string[] = [];
  const host = new HostWatch({
    clock: createFakeClock(),
    interfaces: () => [],
    hostPorts: {
      listeners: (ports) => {
        read.push(ports.map(({ port }) => port).join());
        return Promise.resolve(ports.map((port) => ({ ...port, ip: "0.0.0.0" })));
      },
    },
  });
  const seen = (): readonly number[] => host.listeners.map(({ port }) => port);
  await host.lookFor(wanted(80, 81));
  assert.deepEqual(seen(), [80, 81]);
  await host.lookFor(wanted(80, 81));
  await host.lookFor(wanted(81));
  assert.deepEqual([seen(), read], [[81], ["80,81"]]);
  await host.lookFor(wanted(80, 81));
  assert.deepEqual([seen(), read], [[80, 81], ["80,81", "80,81"]]);
  await host.lookFor([{ protocol: "UDP", port: 80 }]);
  assert.deepEqual([seen(), read.length], [[80], 3]);
  await host.look();
  assert.equal(read.at(-1), "80");
});
