// Brings an image from a registry into an OCI layout, without a container engine: for one processor, anonymously, every byte checked against its
// digest. Facts: opencontainers/distribution-spec 1.1 (pulling), the token scheme of Docker's registries, media types of both.
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { errorMessage, isK3slbError, K3slbError } from "../../core/shared/errors.ts";
import {
  blobPath,
  type Descriptor,
  digestOf,
  fullImageName,
  INDEX_TYPE,
  MANIFEST_TYPE,
  writeBlob,
} from "./oci_layout.ts";

/** Docker's own types are the older form of the same objects. */
const INDEX_TYPES = [INDEX_TYPE, "application/vnd.docker.distribution.manifest.list.v2+json"];
const ACCEPT = [...INDEX_TYPES, MANIFEST_TYPE, "application/vnd.docker.distribution.manifest.v2+json"].join(", ");
/** As registries limit manifests. */
const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;

/** What {@linkcode pullImage} takes. */
export interface PullImageOptions {
  /** Folder of the layout. */
  readonly layout: string;
  readonly architecture: "amd64" | "arm64";
  /** Address of a registry that has the image under its path without a host, such as `http://localhost:5000`; absent: the image's own. */
  readonly registry?: string;
}

/**
 * Writes the image's manifest, configuration and layers into the layout; blobs that are there already are not asked for again.
 * @throws {K3slbError} code "image-pull" if the registry has not got it for this processor, or sends something else
 */
export async function pullImage(name: string, options: PullImageOptions): Promise<Descriptor> {
  const source = new ImageSource(name, options.registry);
  const top = await source.manifest(source.tag);
  if (!INDEX_TYPES.includes(top.mediaType)) return await store(top, source, options);
  const { architecture } = options;
  const wanted = (top.value.manifests ?? []).find(({ platform }) =>
    platform?.os === "linux" && platform.architecture === architecture
  );
  if (wanted === undefined) throw source.failure(`it has none for linux/${architecture}`);
  return await store(await source.manifest(wanted.digest), source, options);
}

async function store(manifest: Manifest, source: ImageSource, options: PullImageOptions): Promise<Descriptor> {
  const { config, layers = [] } = manifest.value;
  if (config === undefined) throw source.failure(`its manifest is of the unknown type "${manifest.mediaType}"`);
  for (const blob of [config, ...layers]) await source.saveBlob(blob, options.layout);
  const { architecture } = JSON.parse(await Deno.readTextFile(blobPath(options.layout, config.digest)));
  if (architecture !== options.architecture) {
    throw source.failure(`it is for ${architecture}, and there is none for linux/${options.architecture}`);
  }
  return await writeBlob(options.layout, manifest.mediaType, manifest.bytes);
}

interface Manifest {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
  readonly value: {
    readonly mediaType?: string;
    readonly manifests?: readonly Descriptor[];
    readonly config?: Descriptor;
    readonly layers?: readonly Descriptor[];
  };
}

/** One repository of one registry. */
class ImageSource {
  readonly tag: string;
  readonly #name: string;
  readonly #base: string;
  #authorization: string | undefined;

  constructor(name: string, registry?: string) {
    this.#name = name;
    const [, host = "", path = "", tag = "latest"] = /^([^/]+)\/(.+?)(?::([^/:]+))?$/.exec(fullImageName(name)) ?? [];
    // Docker's registry has another name than its images.
    const base = registry ?? `https://${host === "docker.io" ? "registry-1.docker.io" : host}`;
    this.#base = `${base.replace(/\/$/, "")}/v2/${path}`;
    this.tag = tag;
  }

  async manifest(reference: string): Promise<Manifest> {
    const response = await this.#get(`manifests/${reference}`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (bytes.length > MAX_MANIFEST_BYTES) throw this.failure("its manifest is too large");
    const digest = reference.startsWith("sha256:") ? reference : response.headers.get("docker-content-digest");
    if (digest !== null && digestOf(bytes) !== digest) throw this.failure(`what came for ${digest} has another digest`);
    const value = JSON.parse(new TextDecoder().decode(bytes));
    const type = response.headers.get("content-type")?.split(";")[0] ?? "";
    return { bytes, value, mediaType: value.mediaType ?? type };
  }

  async saveBlob({ digest }: Descriptor, layout: string): Promise<void> {
    if (!/^sha256:[0-9a-f]{64}$/.test(digest)) throw this.failure(`"${digest}" is not a known kind of digest`);
    const path = blobPath(layout, digest);
    if (existsSync(path)) return;
    const { body } = await this.#get(`blobs/${digest}`);
    await Deno.mkdir(`${layout}/blobs/sha256`, { recursive: true });
    const hash = createHash("sha256");
    const hashed = new TransformStream<Uint8Array, Uint8Array>({
      transform: (chunk, controller) => {
        hash.update(chunk);
        controller.enqueue(chunk);
      },
    });
    const unfinished = `${path}.part`;
    await Deno.writeFile(unfinished, (body ?? new Blob().stream()).pipeThrough(hashed));
    if (`sha256:${hash.digest("hex")}` !== digest) throw this.failure(`what came for ${digest} has another digest`);
    await Deno.rename(unfinished, path);
  }

  failure(why: string, cause?: unknown): K3slbError {
    return new K3slbError(`Cannot bring image "${this.#name}" from ${this.#base}: ${why}`, {
      code: "image-pull",
      hint: "Check that the registry is reached and has the image; --registry URL names another one",
      cause,
    });
  }

  async #get(path: string): Promise<Response> {
    try {
      let response = await this.#ask(path);
      if (response.status === 401) {
        await this.#authorize(response.headers.get("www-authenticate") ?? "");
        await response.body?.cancel();
        response = await this.#ask(path);
      }
      if (response.ok) return response;
      await response.body?.cancel();
      throw this.failure(`the answer for ${path} is ${response.status} ${response.statusText}`);
    } catch (cause) {
      throw isK3slbError(cause) ? cause : this.failure(errorMessage(cause), cause);
    }
  }

  /** Redirects to where blobs are kept are followed, there without the token. */
  #ask(path: string): Promise<Response> {
    const authorization = this.#authorization === undefined ? {} : { authorization: this.#authorization };
    return fetch(`${this.#base}/${path}`, { headers: { accept: ACCEPT, ...authorization } });
  }

  /** What the registry asks for: `Bearer realm="…",service="…",scope="…"`. */
  async #authorize(challenge: string): Promise<void> {
    const { realm, ...query } = Object.fromEntries(
      [...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, k, v]) => [k, v]),
    );
    if (realm === undefined) throw this.failure("it wants a password, which is not given here");
    const response = await fetch(`${realm}?${new URLSearchParams(query)}`);
    if (!response.ok) throw this.failure(`its tokens are refused with ${response.status} ${response.statusText}`);
    const { token, access_token: other } = await response.json();
    this.#authorization = `Bearer ${token ?? other}`;
  }
}
