// How the program ends: SIGTERM and SIGINT end it in order with exit code 0, and its log says so on standard error.
// The API server is one that never answers: a socket that takes connections and stays silent.
import assert from "node:assert/strict";
import { createServer, type Server } from "node:net";
import { programKinds, spawnProgram } from "./program.ts";

for (const kind of programKinds()) {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.test(`server (${kind.name}): ends in order after ${signal}`, async () => {
      const folder = await Deno.makeTempDir();
      const api = await listen();
      try {
        await Deno.writeTextFile(`${folder}/kubeconfig`, kubeconfig(api.port));
        const args = ["server", "--kubeconfig", `${folder}/kubeconfig`, "--metrics-address=", "--log-format", "json"];
        const child = spawnProgram(kind, { args });
        const lines = await untilLine(child.stderr, /"message":"Server starts"/);
        child.kill(signal);
        const [{ code }, rest] = await Promise.all([child.status, lines.rest()]);
        assert.equal(code, 0, rest);
        assert.match(rest, new RegExp(`"message":"Stopping; a second signal stops at once","signal":"${signal}"`));
        for (const line of rest.trim().split("\n")) assert.ok(JSON.parse(line).time, line);
        assert.equal(await new Response(child.stdout).text(), "");
      } finally {
        api.server.close();
        await Deno.remove(folder, { recursive: true });
      }
    });
  }
}

for (const kind of programKinds()) {
  Deno.test(`agent (${kind.name}): is alive and not ready while it still waits for the host's tools`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      for (const name of ["iptables", "ip6tables", "iptables-nft", "iptables-legacy"]) {
        await Deno.writeTextFile(`${folder}/${name}`, "#!/bin/sh\nexec /bin/sleep 60\n", { mode: 0o755 });
      }
      const { server, port } = await listen();
      server.close();
      const args = ["agent", `--metrics-address=127.0.0.1:${port}`, "--log-format", "json"];
      const child = spawnProgram(kind, { args, env: { PATH: `${folder}:${Deno.env.get("PATH")}` } });
      const output = child.output();
      assert.deepEqual(await firstAnswer(`http://127.0.0.1:${port}/livez`), [200, "ok"]);
      const [status, text] = await firstAnswer(`http://127.0.0.1:${port}/readyz`);
      assert.equal(status, 503);
      assert.match(text, /\[-\]start failed: the start is not done yet/);
      // Deno's own server, in place of the binary's, knows no bound.
      if (kind.name === "binary") await untilRefused(port);
      child.kill("SIGTERM");
      const { code, stderr } = await output;
      assert.equal(code, 0, new TextDecoder().decode(stderr));
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

for (const kind of programKinds()) {
  Deno.test(`status --watch (${kind.name}): ends in order and without a word, whenever the signal comes`, async () => {
    const folder = await Deno.makeTempDir();
    const asked = Promise.withResolvers<void>();
    const api = await listen(() => asked.resolve());
    try {
      await Deno.writeTextFile(`${folder}/kubeconfig`, kubeconfig(api.port));
      const child = spawnProgram(kind, { args: ["status", "--watch", "--kubeconfig", `${folder}/kubeconfig`] });
      const output = child.output();
      await asked.promise;
      child.kill("SIGINT");
      const { code, stdout, stderr } = await output;
      assert.deepEqual([code, new TextDecoder().decode(stdout), new TextDecoder().decode(stderr)], [0, "", ""]);
    } finally {
      api.server.close();
      await Deno.remove(folder, { recursive: true });
    }
  });
}

/** Connects and says nothing, again and again, until a connection is closed: who listens takes only so many. */
async function untilRefused(port: number): Promise<void> {
  const open: Deno.TcpConn[] = [];
  const refused = Promise.withResolvers<void>();
  for (let count = 0; count < 1_100; count++) {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port });
    open.push(connection);
    connection.read(new Uint8Array(1)).then(() => refused.resolve(), () => refused.resolve());
  }
  const late = setTimeout(() => refused.reject(new Error(`All of ${open.length} connections are kept`)), 10_000);
  await refused.promise.finally(() => {
    clearTimeout(late);
    for (const connection of open) connection.close();
  });
}

/** The first answer of `url`, once something listens there. */
async function firstAnswer(url: string): Promise<readonly [number, string]> {
  for (const deadline = Date.now() + 20_000;;) {
    try {
      const answer = await fetch(url);
      return [answer.status, await answer.text()];
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** Reads `stream` until a line matches; `rest` reads to the end and returns everything. */
async function untilLine(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  pattern: RegExp,
): Promise<{ readonly rest: () => Promise<string> }> {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const read = async (): Promise<boolean> => {
    const { done, value } = await reader.read();
    text += value ?? "";
    return !done;
  };
  while (!pattern.test(text)) assert.ok(await read(), `ended before ${pattern}: ${text}`);
  return {
    rest: async () => {
      while (await read());
      return text;
    },
  };
}

function listen(onAsked = (): void => {}): Promise<{ readonly server: Server; readonly port: number }> {
  return new Promise((resolve) => {
    const server = createServer((socket) => {
      onAsked();
      socket.on("error", () => socket.destroy());
      socket.resume();
    });
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve({ server, port: typeof address === "object" && address !== null ? address.port : 0 });
    });
  });
}

function kubeconfig(port: number): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "c", cluster: { server: `https://127.0.0.1:${port}` } }],
    users: [{ name: "u", user: { token: "t" } }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  });
}
