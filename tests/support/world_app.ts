// The pods that tests make: a server that says who it is and whom it sees, for simulated and for real kubelets. Pure.
import type { Pod } from "../../core/kube/types.ts";

/** Image of the app; it serves what its arguments say. Its name ends in no `latest`, which would be pulled. */
export const APP_IMAGE = "k3slb.test/app:1";

/** An image that no kubelet of a test world can pull. */
export const MISSING_IMAGE = "k3slb.test/missing:1";

/** On app pods, for simulated kubelets: what they listen on, such as `tcp/8080,udp/8080`. */
export const SERVE_ANNOTATION = "test.k3slb.io/serve";

/** On app pods, for simulated kubelets: milliseconds for which a deleted pod goes on serving, as a preStop hook that sleeps lets it. */
export const STOP_AFTER_ANNOTATION = "test.k3slb.io/stop-after-ms";

/** What a simulated pod listens on, if on anything: what its annotation says, or port 80 where the image is nginx, as people type it. */
export function servedBy(pod: Pod): string | undefined {
  const image = pod.spec?.containers[0]?.image ?? "";
  return pod.metadata?.annotations?.[SERVE_ANNOTATION] ??
    (/^(docker\.io\/library\/)?nginx(:|@|$)/.test(image) ? "tcp/80" : undefined);
}

/** One pod of an app. */
export interface AppPodWish {
  readonly namespace: string;
  readonly name: string;
  readonly app: string;
  readonly node: string;
  readonly serve: readonly string[];
  readonly hostNetwork: boolean;
  readonly stopAfterMs: number | undefined;
}

/** The pod, bound to its node. */
export function appPod(wish: AppPodWish): Pod {
  const { stopAfterMs } = wish;
  const env = [
    { name: "NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
    ...(stopAfterMs === undefined ? [] : [{ name: "STOP_AFTER_MS", value: String(stopAfterMs) }]),
  ];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: wish.name,
      namespace: wish.namespace,
      labels: { app: wish.app },
      annotations: {
        [SERVE_ANNOTATION]: wish.serve.join(","),
        ...(stopAfterMs === undefined ? {} : { [STOP_AFTER_ANNOTATION]: String(stopAfterMs) }),
      },
    },
    spec: {
      nodeName: wish.node,
      hostNetwork: wish.hostNetwork,
      automountServiceAccountToken: false,
      tolerations: [{ operator: "Exists" }],
      containers: [{ name: "app", image: APP_IMAGE, args: [...wish.serve], env, ...readinessProbe(wish.serve) }],
    },
  } as Pod;
}

/** Without one a container is ready before its program listens. */
function readinessProbe(serve: readonly string[]): { readonly readinessProbe?: object } {
  const port = serve.find((one) => one.startsWith("tcp/"))?.slice("tcp/".length);
  return port === undefined ? {} : { readinessProbe: { tcpSocket: { port: Number(port) }, periodSeconds: 1 } };
}
