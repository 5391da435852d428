// Runs inside a network namespace: TCP and UDP echo servers that say who they are and whom they see, and clients for them.
// Commands come as JSON lines on standard input, answers go out as JSON lines; it ends when its input ends. Not imported, only started.
import dgram from "node:dgram";
import net from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";

interface Endpoint {
  readonly protocol: "tcp" | "udp";
  readonly ip?: string;
  readonly port: number;
  readonly name?: string;
  readonly timeoutMs?: number;
  readonly localPort?: number;
  readonly localIp?: string;
}

interface Question extends Endpoint {
  readonly id: number;
  readonly command:
    | "listen"
    | "unlisten"
    | "request"
    | "requestMany"
    | "open"
    | "exchange"
    | "close"
    | "startFlow"
    | "countFlow"
    | "stopFlow";
  readonly count?: number;
  readonly handle?: number;
  readonly targets?: readonly Endpoint[];
  readonly intervalMs?: number;
}

/** New connections at a steady rate to each of some targets, whatever becomes of the earlier ones. */
interface Flow {
  readonly counts: Record<string, number>[];
  readonly open: Set<Promise<void>>;
  readonly timer: ReturnType<typeof setInterval>;
}

interface Stream {
  exchange(timeoutMs: number): Promise<unknown>;
  close(): void;
}

const servers = new Map<string, { close(): void }>();
const streams = new Map<number, Stream>();
const flows = new Map<number, Flow>();
let nextHandle = 1;

async function answer(question: Question): Promise<unknown> {
  switch (question.command) {
    case "listen":
      servers.set(serverKey(question), await (question.protocol === "tcp" ? listenTcp(question) : listenUdp(question)));
      return null;
    case "unlisten":
      servers.get(serverKey(question))?.close();
      servers.delete(serverKey(question));
      return null;
    case "request":
      return await request(question);
    case "requestMany":
      return await requestMany(question);
    case "open": {
      const handle = nextHandle++;
      streams.set(handle, question.protocol === "tcp" ? openTcp(question) : await openUdp(question));
      return handle;
    }
    case "exchange":
      return await streams.get(question.handle ?? 0)?.exchange(question.timeoutMs ?? 1500);
    case "close":
      streams.get(question.handle ?? 0)?.close();
      streams.delete(question.handle ?? 0);
      return null;
    case "startFlow": {
      const handle = nextHandle++;
      flows.set(handle, startFlow(question.targets ?? [], question.intervalMs ?? 10));
      return handle;
    }
    case "countFlow":
      return flows.get(question.handle ?? 0)?.counts;
    case "stopFlow": {
      const flow = flows.get(question.handle ?? 0);
      clearInterval(flow?.timer);
      await Promise.all(flow?.open ?? []);
      return flow?.counts;
    }
  }
}

function startFlow(targets: readonly Endpoint[], intervalMs: number): Flow {
  const counts = targets.map((): Record<string, number> => ({}));
  const open = new Set<Promise<void>>();
  const ask = (target: Endpoint, i: number): void => {
    const asked = request(target).then((result) => {
      const { outcome } = result as { outcome: string };
      const count = counts[i] ?? {};
      count[outcome] = (count[outcome] ?? 0) + 1;
      open.delete(asked);
    });
    open.add(asked);
  };
  return { counts, open, timer: setInterval(() => targets.forEach(ask), intervalMs) };
}

function serverKey(endpoint: Endpoint): string {
  return `${endpoint.protocol} ${endpoint.ip ?? "::"} ${endpoint.port}`;
}

function listenTcp(endpoint: Endpoint): Promise<{ close(): void }> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    const [ip, port] = [socket.remoteAddress, socket.remotePort ?? 0];
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    const lines = createInterface({ input: socket });
    let isHttp = false;
    lines.on("line", (line) => {
      const said = greeting(endpoint, ip, port) + "\n";
      isHttp ||= / HTTP\/1\.[01]$/.test(line);
      if (!isHttp) socket.write(said);
      // As the image of real pods: a page, once the request has ended.
      else if (line === "") {
        socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${said.length}\r\nConnection: close\r\n\r\n${said}`);
      }
    });
    // It tells of the socket's errors once more: a client that has enough after the first line ends no server.
    lines.on("error", () => {});
  });
  const close = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen({ host: endpoint.ip ?? "::", port: endpoint.port, backlog: 512 }, () => resolve({ close }));
  });
}

/** Both families get a socket of their own, as an answer must leave from the address that was asked. */
async function listenUdp(endpoint: Endpoint): Promise<{ close(): void }> {
  const ips = endpoint.ip === undefined ? ["0.0.0.0", "::"] : [endpoint.ip];
  const sockets: dgram.Socket[] = [];
  for (const ip of ips) {
    const socket = dgram.createSocket({ type: ip.includes(":") ? "udp6" : "udp4", ipv6Only: true });
    socket.on(
      "message",
      (_message, from) => socket.send(greeting(endpoint, from.address, from.port), from.port, from.address),
    );
    await new Promise<void>((resolve, reject) => {
      socket.on("error", reject);
      socket.bind(endpoint.port, ip, () => resolve());
    });
    sockets.push(socket);
  }
  return { close: () => sockets.forEach((socket) => socket.close()) };
}

function greeting(endpoint: Endpoint, ip: string | undefined, port: number): string {
  return JSON.stringify({
    outcome: "answer",
    server: endpoint.name,
    peer: (ip ?? "").replace(/^::ffff:(?=\d+\.)/, ""),
    peerPort: port,
  });
}

async function request(endpoint: Endpoint): Promise<unknown> {
  const stream = endpoint.protocol === "tcp" ? openTcp(endpoint) : await openUdp(endpoint);
  try {
    return await stream.exchange(endpoint.timeoutMs ?? 1500);
  } finally {
    stream.close();
  }
}

async function requestMany(question: Question): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  let left = question.count ?? 1;
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const result = await request(question) as { outcome: string; server?: string };
      const key = result.server ?? result.outcome;
      counts[key] = (counts[key] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  return counts;
}

function openTcp(endpoint: Endpoint): Stream {
  const socket = net.connect({
    host: endpoint.ip ?? "",
    port: endpoint.port,
    ...(endpoint.localPort === undefined ? {} : { localPort: endpoint.localPort }),
    ...(endpoint.localIp === undefined ? {} : { localAddress: endpoint.localIp }),
  });
  let ended: unknown;
  let waiting: ((value: unknown) => void) | undefined;
  const end = (outcome: string): void => {
    ended ??= { outcome };
    waiting?.(ended);
  };
  socket.on("error", (error: NodeJS.ErrnoException) => end(outcomeOf(error.code)));
  socket.on("close", () => end("closed"));
  createInterface({ input: socket }).on("line", (line) => waiting?.(JSON.parse(line))).on("error", () => end("closed"));
  return {
    exchange: (timeoutMs) =>
      inTime(timeoutMs, (tell) => {
        waiting = tell;
        if (ended !== undefined) tell(ended);
        else socket.write("hello\n");
      }),
    close: () => socket.destroy(),
  };
}

async function openUdp(endpoint: Endpoint): Promise<Stream> {
  const ip = endpoint.ip ?? "";
  const socket = dgram.createSocket({ type: ip.includes(":") ? "udp6" : "udp4" });
  let waiting: ((value: unknown) => void) | undefined;
  socket.on("message", (message) => waiting?.(JSON.parse(String(message))));
  socket.on("error", (error: NodeJS.ErrnoException) => waiting?.({ outcome: outcomeOf(error.code) }));
  await new Promise<void>((resolve) =>
    socket.bind(endpoint.localPort ?? 0, endpoint.localIp ?? (ip.includes(":") ? "::" : "0.0.0.0"), () => resolve())
  );
  return {
    exchange: (timeoutMs) =>
      inTime(timeoutMs, (tell) => {
        waiting = tell;
        socket.send("hello", endpoint.port, ip, (error) => {
          if (error) tell({ outcome: outcomeOf((error as NodeJS.ErrnoException).code) });
        });
      }),
    close: () => socket.close(),
  };
}

/** What `ask` is told first, or that it was told nothing in time. */
function inTime(timeoutMs: number, ask: (tell: (value: unknown) => void) => void): Promise<unknown> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve({ outcome: "timeout" }), timeoutMs);
    ask((value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}

function outcomeOf(code: string | undefined): string {
  if (code === "ECONNREFUSED") return "refused";
  if (code === "ECONNRESET" || code === "EPIPE") return "closed";
  if (code === "ETIMEDOUT") return "timeout";
  return "unreachable";
}

for await (const line of createInterface({ input: process.stdin })) {
  const question = JSON.parse(line) as Question;
  answer(question).then(
    (value) => process.stdout.write(JSON.stringify({ id: question.id, value }) + "\n"),
    (error: unknown) => process.stdout.write(JSON.stringify({ id: question.id, error: String(error) }) + "\n"),
  );
}
process.exit(0);
