// Lines of `ss` as they are printed, and names of control groups as systemd and container runtimes make them.
import assert from "node:assert/strict";
import { parseSocketGroups } from "../../../../node_agent/host/socket_owners.ts";

const ID = "3f2a9c41d0b7e86512ca774b09fe1d3860b5a1c2d3e4f5061728394a5b6c7d8e";
const POD = "kubepods-burstable-pod6c1f0c9e_93f4_4c1d_8a55_0b9d6f1f7a11.slice";

interface Case {
  readonly name: string;
  readonly given: string;
  /** `INODE OWNER` */
  readonly want: readonly string[];
}

const LINES: readonly Case[] = [
  {
    name: "TCP, the group printed twice (iproute2 6.1)",
    given:
      "tcp LISTEN 0      128    0.0.0.0:80 0.0.0.0:* ino:1122263 sk:6 cgroup:/system.slice/nginx.service <-> cgroup:/system.slice/nginx.service         ",
    want: ["1122263 nginx.service"],
  },
  {
    name: "TCP with user and time, the group last (iproute2 5.9)",
    given:
      "tcp   LISTEN 0      511          0.0.0.0:443       0.0.0.0:*    timer:(keepalive,2min,0) uid:33 ino:31 sk:1001 <-> cgroup:/system.slice/nginx.service",
    want: ["31 nginx.service"],
  },
  {
    name: "columns apart by tabs",
    given: "tcp\tLISTEN\t0\t128\t*:80\t*:*\tino:31 sk:1 cgroup:/system.slice/httpd.service v6only:0 <->",
    want: ["31 httpd.service"],
  },
  {
    name: "UDP on all addresses of both families",
    given:
      "udp UNCONN 0      0            *:53       *:* ino:1122264 sk:5 cgroup:/system.slice/named.service v6only:0 <-> cgroup:/system.slice/named.service",
    want: ["1122264 named.service"],
  },
  {
    name: "UDP of one interface",
    given:
      "udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:* uid:101 ino:77 sk:2 cgroup:/system.slice/systemd-resolved.service <->",
    want: ["77 systemd-resolved.service"],
  },
  {
    name: "IPv6 in brackets",
    given: "tcp LISTEN 0 128 [::]:22 [::]:* ino:78 sk:3 cgroup:/system.slice/ssh.service v6only:1 <->",
    want: ["78 ssh.service"],
  },
  {
    name: "IPv6 of one interface",
    given:
      "udp UNCONN 0 0 [fe80::5054:ff:fe12:3456]%eth0:546 [::]:* ino:79 sk:4 cgroup:/system.slice/dhcp6.service <->",
    want: ["79 dhcp6.service"],
  },
  {
    name: "several, each by itself",
    given: [
      "tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:* ino:1 sk:1 cgroup:/system.slice/a.service <->",
      "tcp LISTEN 0 128 0.0.0.0:81 0.0.0.0:* ino:2 sk:2 cgroup:/ <-> cgroup:/",
      "tcp LISTEN 0 128 0.0.0.0:82 0.0.0.0:* ino:3 sk:3 cgroup:/system.slice/b.service <->",
      "",
    ].join("\n"),
    want: ["1 a.service", "3 b.service"],
  },
  {
    name: "the root group is nobody in particular",
    given: "tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:* ino:1 sk:4 cgroup:/ <-> cgroup:/",
    want: [],
  },
  {
    name: "a group that is gone or out of sight",
    given: "tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:* ino:1 sk:4 cgroup:unreachable:54b <->",
    want: [],
  },
  {
    name: "a kernel without groups of sockets",
    given: "tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:* ino:1 sk:4 <->",
    want: [],
  },
  {
    name: "a socket without a number",
    given: "tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:* ino:0 sk:4 cgroup:/system.slice/a.service <->",
    want: [],
  },
  { name: "a complaint", given: "ss: unrecognized option '--cgroup'\nUsage: ss [ OPTIONS ]\n", want: [] },
  { name: "nothing", given: "", want: [] },
];

for (const { name, given, want } of LINES) {
  Deno.test(`parseSocketGroups: ${name}`, () => {
    assert.deepEqual([...parseSocketGroups(given)].map((pair) => pair.join(" ")), want);
  });
}

const GROUPS: Readonly<Record<string, string>> = {
  "/system.slice/nginx.service": "nginx.service",
  "/system.slice/system-postgresql.slice/postgresql@15-main.service": "postgresql@15-main.service",
  "/system.slice/docker.service/payload": "docker.service",
  "/system.slice/_cgroup.service": "cgroup.service",
  "/system.slice/echo.socket": "echo.socket",
  "/init.scope": "init.scope",
  "/user.slice/user-1000.slice/session-3.scope": "session-3.scope",
  "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service": "web.service",
  "/openrc.nginx": "openrc.nginx",
  [`/kubepods.slice/kubepods-burstable.slice/${POD}/cri-containerd-${ID}.scope`]:
    "a container (cri-containerd-3f2a9c41d0b7e)",
  [`/kubepods.slice/kubepods-besteffort.slice/${POD}/crio-${ID}.scope/container`]: "a container (crio-3f2a9c41d0b7e)",
  [`/kubepods/burstable/pod6c1f0c9e-93f4-4c1d-8a55-0b9d6f1f7a11/${ID}`]: "a container (3f2a9c41d0b7e)",
  [`/system.slice/${POD}:cri-containerd:${ID}`]: "a container (cri-containerd-3f2a9c41d0b7e)",
  [`/system.slice/docker-${ID}.scope`]: "a container (docker-3f2a9c41d0b7e)",
  [`/system.slice/docker-${ID}.scope/system.slice/nginx.service`]: "a container (docker-3f2a9c41d0b7e)",
  [`/machine.slice/libpod-${ID}.scope/container`]: "a container (libpod-3f2a9c41d0b7e)",
};

for (const [path, want] of Object.entries(GROUPS)) {
  Deno.test(`parseSocketGroups: calls ${path} ${want}`, () => {
    const line = `tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:* ino:1 sk:4 cgroup:${path} <-> cgroup:${path}`;
    assert.deepEqual([...parseSocketGroups(line)], [["1", want]]);
  });
}
