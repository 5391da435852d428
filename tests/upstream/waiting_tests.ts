// Four of Kubernetes' own tests want an address before there is a pod, or one address for all pods: a load balancer apart from the nodes gives
// that under policy Local, nodes can't, K3s's no more than ours. They are built with the changes below, which wait for what the Service's
// status says and hold it to more than before: only nodes with an endpoint are listed, all of them. All else of them is as it was, but that
// the client may be a neighbour of nodes that have addresses of both families.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cacheDir } from "../support/go_program.ts";
import { runProgram } from "../support/programs.ts";

/** Folder of the tests in `k8s.io/kubernetes`, of which one file is changed. */
const FOLDER = "test/e2e/network";
const FILE = "loadbalancer.go";

/** Texts, each of which must be there exactly so often. */
interface Change {
  readonly before: string;
  readonly after: string;
  /** @default {1} */
  readonly times?: number;
}

const CHANGES: readonly Change[] = [
  {
    before: "jig.CreateOnlyLocalLoadBalancerService(ctx, loadBalancerCreateTimeout, ",
    after: "createOnlyLocalService(ctx, jig, loadBalancerCreateTimeout, ",
    times: 4,
  },
  // The client is a neighbour of the nodes: the pod must see its very address.
  {
    before: `		if subnetPrefix.Contains(ip) {
			framework.Failf("Source IP was NOT preserved")
		}
	})

	ginkgo.It("should only target nodes`,
    after: `		_ = subnetPrefix
		probe, err := net.Dial("udp", net.JoinHostPort(ingressIP, "9"))
		framework.ExpectNoError(err)
		defer probe.Close()
		if own := probe.LocalAddr().(*net.UDPAddr).IP; !own.Equal(ip) {
			framework.Failf("Source IP was NOT preserved: %s instead of %s", ip, own)
		}
	})

	ginkgo.It("should only target nodes`,
  },
  // kube-proxy answers health checks of a Service in its own family alone.
  {
    before: `				if addr.Type == v1.NodeInternalIP && addr.Address != "" {
					internalIPs.Insert(addr.Address)
				}
			}
			if internalIPs.Len() > 0 {
				nodeInternalIPs[node.Name] = internalIPs`,
    after:
      `				if addr.Type == v1.NodeInternalIP && netutils.IsIPv6String(addr.Address) == netutils.IsIPv6String(svc.Spec.ClusterIP) {
					internalIPs.Insert(addr.Address)
				}
			}
			if internalIPs.Len() > 0 {
				nodeInternalIPs[node.Name] = internalIPs`,
  },
  {
    before: `		ingressIP := e2eservice.GetIngressPoint(&svc.Status.LoadBalancer.Ingress[0])
		svcTCPPort := int(svc.Spec.Ports[0].Port)

		const threshold = 2
		config :=`,
    after: `		svcTCPPort := int(svc.Spec.Ports[0].Port)

		const threshold = 2
		config :=`,
  },
  {
    before: `			err = jig.WaitForEndpointOnNode(ctx, endpointNodeName)
			framework.ExpectNoError(err)

			// HealthCheck should pass only`,
    after: `			err = jig.WaitForEndpointOnNode(ctx, endpointNodeName)
			framework.ExpectNoError(err)
			ingressIP := waitForStatus(ctx, jig, 1, nodeInternalIPs[endpointNodeName].Has)[0]

			// HealthCheck should pass only`,
  },
  {
    before: `		ingress := e2eservice.GetIngressPoint(&svc.Status.LoadBalancer.Ingress[0])
		svcPort := int(svc.Spec.Ports[0].Port)
		framework.Logf("ingress is %s:%d", ingress, svcPort)

		ginkgo.By("creating endpoints on multiple nodes")`,
    after: `		svcPort := int(svc.Spec.Ports[0].Port)

		ginkgo.By("creating endpoints on multiple nodes")`,
  },
  {
    before: `		if !checkAffinity(ctx, cs, nil, ingress, svcPort, false) {
			framework.Failf("Load balancer connections only reached one of the two endpoints")
		}`,
    after: `		reached := sets.New[string]()
		for _, ingress := range waitForStatus(ctx, jig, 2, func(string) bool { return true }) {
			hostname, err := GetHTTPContent(ingress, svcPort, e2eservice.KubeProxyLagTimeout, "/hostname")
			framework.ExpectNoError(err)
			reached.Insert(hostname)
		}
		if reached.Len() != 2 {
			framework.Failf("Load balancer connections only reached one of the two endpoints")
		}`,
  },
  {
    before: `func ipToSourceRange(ip string) string {`,
    after: `// createOnlyLocalService makes a Service, and waits for its address if it makes a pod of it.
func createOnlyLocalService(ctx context.Context, jig *e2eservice.TestJig, timeout time.Duration, createPod bool,
	tweak func(svc *v1.Service)) (*v1.Service, error) {
	svc, err := jig.CreateLoadBalancerServiceWaitForClusterIPOnly(func(svc *v1.Service) {
		svc.Spec.ExternalTrafficPolicy = v1.ServiceExternalTrafficPolicyLocal
		if tweak != nil {
			tweak(svc)
		}
	})
	if err != nil || !createPod {
		return svc, err
	}
	if _, err := jig.Run(ctx, nil); err != nil {
		return nil, err
	}
	return jig.WaitForLoadBalancer(ctx, timeout)
}

// waitForStatus returns the addresses in the Service's status once they are \`count\`, all of which \`isRight\` takes.
func waitForStatus(ctx context.Context, jig *e2eservice.TestJig, count int, isRight func(string) bool) []string {
	var found []string
	err := wait.PollUntilContextTimeout(ctx, framework.Poll, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		svc, err := jig.Client.CoreV1().Services(jig.Namespace).Get(ctx, jig.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		found = nil
		for _, ingress := range svc.Status.LoadBalancer.Ingress {
			if !isRight(ingress.IP) {
				return false, nil
			}
			found = append(found, ingress.IP)
		}
		return len(found) == count, nil
	})
	framework.ExpectNoError(err, "waiting for the status to list the nodes with endpoints")
	return found
}

func ipToSourceRange(ip string) string {`,
  },
];

/**
 * Flags of `go test` with which the package `upstream/network` is Kubernetes' own with the changes. Nothing is copied into this folder: `go` is
 * told where the files are.
 */
export async function waitingTestsFlags(): Promise<readonly string[]> {
  const cwd = fileURLToPath(new URL(".", import.meta.url));
  const module = await runProgram(["go", "mod", "download", "-json", "k8s.io/kubernetes"], { cwd });
  if (module.code !== 0) throw new Error(`Cannot get Kubernetes' tests: ${module.stderr.trim()}`);
  const folder = join((JSON.parse(module.stdout) as { Dir: string }).Dir, FOLDER);
  let text = readFileSync(join(folder, FILE), "utf8");
  for (const { before, after, times = 1 } of CHANGES) {
    const parts = text.split(before);
    if (parts.length !== times + 1) {
      throw new Error(`${FOLDER}/${FILE} is not as it was: change ${fileURLToPath(import.meta.url)}`);
    }
    text = parts.join(after);
  }
  const hash = createHash("sha256").update(folder).update(cwd).update(text).digest("hex").slice(0, 16);
  const made = join(cacheDir(), `upstream-changes-${hash}`);
  mkdirSync(made, { recursive: true });
  writeFileSync(join(made, FILE), text);
  const names = readdirSync(folder).filter((name) => /(?<!_test)\.go$/.test(name));
  const replaced = Object.fromEntries(
    names.map((name) => [join(cwd, "network", name), join(name === FILE ? made : folder, name)]),
  );
  const overlay = join(made, "overlay.json");
  writeFileSync(overlay, JSON.stringify({ Replace: replaced }));
  // There is no such folder, in which `go vet` would look.
  return ["-overlay", overlay, "-vet=off"];
}
