// A registry of images on loopback, as public ones are: it hands out a token first, and sends whoever wants a blob to another host, which takes no
// token. What it has lies in a folder in the OCI layout.
import { readFileSync } from "node:fs";
import { blobPath } from "../../build/release/oci_layout.ts";

/** A running registry. */
export interface TestRegistry {
  /** Its address. */
  readonly url: string;
  /** Paths that were asked for, tokens apart. */
  readonly asked: readonly string[];
  readonly stop: () => Promise<void>;
}

interface Named {
  readonly digest: string;
  readonly mediaType: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Serves the images of `layout` under their names without the host. */
export function startRegistry(layout: string): TestRegistry {
  const asked: string[] = [];
  const index: { readonly manifests: readonly Named[] } = JSON.parse(readFileSync(`${layout}/index.json`, "utf8"));
  const tags = new Map(index.manifests.map((one) => {
    const [, path = "", tag = ""] = /^[^/]+\/(.+):([^:]+)$/.exec(one.annotations["io.containerd.image.name"] ?? "") ??
      [];
    return [`/v2/${path}/manifests/${tag}`, one];
  }));
  const blob = (digest: string, type: string): Response => {
    try {
      const headers = { "content-type": type, "docker-content-digest": digest };
      return new Response(readFileSync(blobPath(layout, digest)), { headers });
    } catch {
      return new Response("unknown", { status: 404 });
    }
  };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, ({ url, headers }) => {
    const { pathname, port, search, hostname } = new URL(url);
    const token = headers.get("authorization");
    if (pathname === "/token") return Response.json({ token: `for${search}` });
    asked.push(pathname);
    const [, kind, digest = ""] = /\/(manifests|blobs|kept)\/(sha256:[0-9a-f]{64})$/.exec(pathname) ?? [];
    if (kind === "kept") {
      const mayAsk = token === null && hostname === "localhost";
      return mayAsk ? blob(digest, "application/octet-stream") : new Response("who?", { status: 400 });
    }
    const [, repository = ""] = /^\/v2\/(.+)\/(?:manifests|blobs)\//.exec(pathname) ?? [];
    if (token !== `Bearer for?service=test&scope=${encodeURIComponent(`repository:${repository}:pull`)}`) {
      const challenge =
        `Bearer realm="http://127.0.0.1:${port}/token",service="test",scope="repository:${repository}:pull"`;
      return new Response("who?", { status: 401, headers: { "www-authenticate": challenge } });
    }
    if (kind === "blobs") return Response.redirect(`http://localhost:${port}/kept/${digest}`, 307);
    const named = tags.get(pathname);
    if (named !== undefined) return blob(named.digest, named.mediaType);
    return kind === "manifests" ? blob(digest, "text/plain") : new Response("unknown", { status: 404 });
  });
  return { url: `http://127.0.0.1:${server.addr.port}`, asked, stop: () => server.shutdown() };
}
