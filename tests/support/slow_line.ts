// A slow and lossy line: copies frames between two tap devices of this network namespace, each some time later, a share of them never. For kernels
// without netem. Usage: deno run --allow-ffi slow_line.ts TAP TAP DELAY_MS LOSS; says "ready" when the devices are there, which go with it.
// Numbers are Linux's on x64 and arm64 (linux/if_tun.h).

const O_RDWR = 2;
const TUNSETIFF = 0x4004_54ca;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
const IFREQ_BYTES = 40;
const IFREQ_FLAGS_AT = 16;
/** Larger than any frame of a device whose MTU is the usual one. */
const FRAME_BYTES = 2048;

const { symbols: c } = Deno.dlopen("libc.so.6", {
  open: { parameters: ["buffer", "i32"], result: "i32" },
  ioctl: { parameters: ["i32", "usize", "buffer"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize", nonblocking: true },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
});

function openTap(name: string): number {
  const fd = c.open(new TextEncoder().encode("/dev/net/tun\0"), O_RDWR);
  if (fd < 0) throw new Error("Cannot open /dev/net/tun");
  const request = new Uint8Array(IFREQ_BYTES);
  request.set(new TextEncoder().encode(name));
  new DataView(request.buffer).setInt16(IFREQ_FLAGS_AT, IFF_TAP | IFF_NO_PI, true);
  if (c.ioctl(fd, BigInt(TUNSETIFF), request) < 0) throw new Error(`Cannot make the device ${name}`);
  return fd;
}

async function copy(from: number, to: number, { delayMs, loss }: { delayMs: number; loss: number }): Promise<void> {
  for (;;) {
    const frame = new Uint8Array(FRAME_BYTES);
    const length = Number(await c.read(from, frame, BigInt(FRAME_BYTES)));
    if (length <= 0) {
      // The device is not up yet.
      await new Promise((resolve) => setTimeout(resolve, 20));
    } else if (Math.random() >= loss) {
      setTimeout(() => c.write(to, frame.subarray(0, length), BigInt(length)), delayMs);
    }
  }
}

const [near = "", far = "", delayMs, loss] = Deno.args;
const [a, b] = [openTap(near), openTap(far)];
const line = { delayMs: Number(delayMs), loss: Number(loss) };
Deno.stdout.writeSync(new TextEncoder().encode("ready\n"));
await Promise.all([copy(a, b, line), copy(b, a, line)]);
