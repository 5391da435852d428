// The C library's socket calls, blocking, for load that costs little beside the kernel's own work: `node:net` would spend more time in its
// event loop than the packet paths that are compared. IPv4 only; numbers are Linux's on x64 and arm64 (socket(7), ip(7), epoll(7)).

/** Error of a call: the C library returns this and sets errno. */
export const FAILED = -1;

const AF_INET = 2;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_LINGER = 13;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0x800;
const POLLIN = 1;
const POLLOUT = 4;
const MSG_NOSIGNAL = 0x4000;
const EPOLLIN = 1;
const EPOLL_CTL_ADD = 1;
/** `struct epoll_event` is packed on x64 and on no other machine. */
const EPOLL_EVENT = Deno.build.arch === "x86_64" ? { bytes: 12, fdOffset: 4 } : { bytes: 16, fdOffset: 8 };

// Lengths are `size_t`: as 32 bits they are plain numbers here, and both machines pass them in a register whose upper half is zero.
const { symbols: c } = Deno.dlopen("libc.so.6", {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  listen: { parameters: ["i32", "i32"], result: "i32" },
  accept: { parameters: ["i32", "pointer", "pointer"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  send: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  recv: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  sendto: { parameters: ["i32", "buffer", "u32", "i32", "buffer", "u32"], result: "i32" },
  recvfrom: { parameters: ["i32", "buffer", "u32", "i32", "buffer", "buffer"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  epoll_create1: { parameters: ["i32"], result: "i32" },
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  epoll_wait: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32" },
  poll: { parameters: ["buffer", "u32", "i32"], result: "i32" },
  usleep: { parameters: ["u32"], result: "i32" },
});

/** `struct sockaddr_in` of an address and port. */
export function socketAddress(ip: string, port: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_INET, true);
  view.setUint16(2, port);
  ip.split(".").forEach((part, i) => bytes[4 + i] = Number(part));
  return bytes;
}

/** A TCP socket with `timeoutMs` on every call; it is cut by a reset at the end, so that no port stays in TIME_WAIT. */
export function tcpSocket(timeoutMs: number): number {
  const fd = made("socket", c.socket(AF_INET, SOCK_STREAM, 0));
  setTimeouts(fd, timeoutMs);
  setOption(fd, SOL_SOCKET, SO_LINGER, new Int32Array([1, 0]));
  setOption(fd, IPPROTO_TCP, TCP_NODELAY, new Int32Array([1]));
  return fd;
}

/** Begins a connection and does not wait for it; it is cut by a reset at the end. */
export function beginConnection(address: Uint8Array<ArrayBuffer>): number {
  const fd = made("socket", c.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  setOption(fd, SOL_SOCKET, SO_LINGER, new Int32Array([1, 0]));
  // Not yet connected is an error of this call, and the expected one: the first use of the socket tells.
  c.connect(fd, address, address.length);
  return fd;
}

/** Waits until a socket can be written or has something to read; `false` when time is up. */
export function waitForSocket(fd: number, what: "writable" | "readable", timeoutMs: number): boolean {
  pollView.setInt32(0, fd, true);
  pollView.setInt32(4, what === "writable" ? POLLOUT : POLLIN, true);
  return c.poll(pollBytes, 1, timeoutMs) === 1;
}

const pollBytes = new Uint8Array(8);
const pollView = new DataView(pollBytes.buffer);

/** A UDP socket that is connected to `address`. */
export function udpSocket(address: Uint8Array<ArrayBuffer>, timeoutMs: number): number {
  const fd = made("socket", c.socket(AF_INET, SOCK_DGRAM, 0));
  setTimeouts(fd, timeoutMs);
  made("connect", c.connect(fd, address, address.length));
  return fd;
}

/** Whether the connection stands. */
export function connectSocket(fd: number, address: Uint8Array<ArrayBuffer>): boolean {
  return c.connect(fd, address, address.length) !== FAILED;
}

/** Sends `request` and takes one answer; `false` if either failed, timed out or the other end closed. */
export function exchange(fd: number, request: Uint8Array<ArrayBuffer>, answer: Uint8Array<ArrayBuffer>): boolean {
  return sendBytes(fd, request) && receive(fd, answer) > 0;
}

/** Sends; `false` on any error. */
export function sendBytes(fd: number, bytes: Uint8Array<ArrayBuffer>): boolean {
  return c.send(fd, bytes, bytes.length, MSG_NOSIGNAL) === bytes.length;
}

/** Receives; the count of bytes, `0` at the end, {@linkcode FAILED} on any error. */
export function receive(fd: number, into: Uint8Array<ArrayBuffer>): number {
  return c.recv(fd, into, into.length, 0);
}

/** Closes a socket. */
export function closeSocket(fd: number): void {
  c.close(fd);
}

/** Lets time pass without giving the processor away to anything but the kernel. */
export function sleepMicroseconds(us: number): void {
  c.usleep(us);
}

/** Serves TCP (each request gets `response`) and UDP (an echo) on `port` of every address in one thread, for ever. Calls `onListening` once. */
export function serve(port: number, response: Uint8Array<ArrayBuffer>, onListening: () => void): never {
  const address = socketAddress("0.0.0.0", port);
  const tcp = made("socket", c.socket(AF_INET, SOCK_STREAM, 0));
  setOption(tcp, SOL_SOCKET, SO_REUSEADDR, new Int32Array([1]));
  made("bind", c.bind(tcp, address, address.length));
  made("listen", c.listen(tcp, 1024));
  const udp = made("socket", c.socket(AF_INET, SOCK_DGRAM, 0));
  made("bind", c.bind(udp, address, address.length));
  const epoll = made("epoll_create1", c.epoll_create1(0));
  for (const fd of [tcp, udp]) watchSocket(epoll, fd);
  const events = new Uint8Array(EPOLL_EVENT.bytes * 64);
  const view = new DataView(events.buffer);
  const buffer = new Uint8Array(4096);
  const from = new Uint8Array(16);
  const fromLength = new Uint8Array(new Uint32Array([16]).buffer);
  onListening();
  while (true) {
    const count = c.epoll_wait(epoll, events, 64, -1);
    for (let i = 0; i < count; i++) {
      const fd = view.getInt32(i * EPOLL_EVENT.bytes + EPOLL_EVENT.fdOffset, true);
      if (fd === tcp) {
        const connection = c.accept(tcp, null, null);
        if (connection === FAILED) continue;
        setOption(connection, IPPROTO_TCP, TCP_NODELAY, new Int32Array([1]));
        watchSocket(epoll, connection);
      } else if (fd === udp) {
        const length = c.recvfrom(udp, buffer, buffer.length, 0, from, fromLength);
        if (length > 0) c.sendto(udp, buffer, length, 0, from, from.length);
      } else {
        const length = c.recv(fd, buffer, buffer.length, 0);
        if (length <= 0) {
          c.close(fd);
          continue;
        }
        c.send(fd, response, response.length, MSG_NOSIGNAL);
      }
    }
  }
}

function watchSocket(epoll: number, fd: number): void {
  const event = new Uint8Array(EPOLL_EVENT.bytes);
  const view = new DataView(event.buffer);
  view.setUint32(0, EPOLLIN, true);
  view.setInt32(EPOLL_EVENT.fdOffset, fd, true);
  made("epoll_ctl", c.epoll_ctl(epoll, EPOLL_CTL_ADD, fd, event));
}

function setTimeouts(fd: number, timeoutMs: number): void {
  const time = new BigInt64Array([BigInt(Math.floor(timeoutMs / 1000)), BigInt((timeoutMs % 1000) * 1000)]);
  for (const option of [SO_RCVTIMEO, SO_SNDTIMEO]) setOption(fd, SOL_SOCKET, option, time);
}

function setOption(fd: number, level: number, option: number, value: Int32Array | BigInt64Array): void {
  const bytes = new Uint8Array(value.buffer as ArrayBuffer);
  made("setsockopt", c.setsockopt(fd, level, option, bytes, bytes.length));
}

function made(call: string, result: number): number {
  if (result === FAILED) throw new Error(`The C library's ${call}() failed`);
  return result;
}
