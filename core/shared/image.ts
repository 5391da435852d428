// Container image names: where a registry of one's own goes. Pure.

/** `image` from `registry` instead of the registry in its name; `image` itself if `registry` is empty. */
export function imageFrom(registry: string, image: string): string {
  if (registry === "") return image;
  const [first = "", ...rest] = image.split("/");
  const hasHost = rest.length > 0 && (/[.:]/.test(first) || first === "localhost");
  return `${registry.replace(/\/+$/, "")}/${hasHost ? rest.join("/") : image}`;
}
