// kubectl against the world's API server, in two releases: what people type into the demo's playground and into the README's quick start. On the
// real control plane the same words hold the in-memory server to the real one.
import { equal, match, notEqual, ok } from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { builtKubectls } from "../support/kubectl_programs.ts";
import { enterWorld } from "../support/netns.ts";
import { runProgram } from "../support/programs.ts";
import { worldSuite, type WorldTest } from "../support/world_suite.ts";

/** What one command did. */
interface Done {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs kubectl in the test's namespace, with the words as they are typed. */
type Type = (line: string, env?: Readonly<Record<string, string>>) => Promise<Done>;

/** A command that must succeed; what it prints. */
type Run = (line: string, env?: Readonly<Record<string, string>>) => Promise<string>;

const SHOP = (port: number, more = ""): string => `
apiVersion: v1
kind: ConfigMap
metadata: { name: shop }
data: { port: "${port}" }
---
apiVersion: v1
kind: Service
metadata: { name: shop }
spec:
  type: LoadBalancer
  selector: { app: shop }
  ports: [{ port: ${port} }]
${more}`;

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2 });
  const programs = await builtKubectls();
  const lacking = "it is not built: tests/run.ts with the suite real builds it";

  for (const name of ["newer", "older"]) {
    const program = programs.find((one) => one.name === name);
    const options = program === undefined ? { skip: lacking } : {};
    const kubectlTest = (title: string, fn: (run: Run, type: Type, test: WorldTest) => Promise<void>): void =>
      test(`kubectl, ${name}: ${title}`, async (given) => {
        const kubeconfig = await given.world.api.kubeconfig("admin", ["system:masters"]);
        const cache = mkdtempSync(join(tmpdir(), "k3slb-kubectl-"));
        const type: Type = async (line, env = {}) => {
          const words = line.split(" ");
          const command = [...program?.command ?? [], "--kubeconfig", kubeconfig, "--cache-dir", cache];
          return await runProgram([...command, "--namespace", given.ns.name, ...words], { env });
        };
        const run: Run = async (line, env) => {
          const { code, stdout, stderr } = await type(line, env);
          equal(code, 0, `kubectl ${line}: ${stderr}${stdout}`);
          return stdout;
        };
        try {
          await fn(run, type, given);
        } finally {
          rmSync(cache, { recursive: true });
        }
      }, options);

    kubectlTest(
      "the quick start: a deployment is exposed and answers at the nodes' addresses",
      async (run, _type, { world, ns }) => {
        // The image that test worlds have; on simulated nodes nginx answers too.
        const isReal = world.kind === "nodes";
        const image = isReal ? "k3slb.test/app:1" : "nginx";
        const port = world.port();
        match(await run(`create deployment web --image=${image} --replicas=2`), /^deployment\.apps\/web created$/m);
        match(
          await run(`expose deployment web --type=LoadBalancer --port=${port} --target-port=80`),
          /service\/web exposed/,
        );
        match(await run("rollout status deployment/web --timeout=60s"), /successfully rolled out/);
        await ns.waitForIngress("web", world.nodeIps);
        const shown = await run("get service web");
        match(
          shown,
          /^NAME +TYPE +CLUSTER-IP +EXTERNAL-IP +PORT\(S\) +AGE\nweb +LoadBalancer +10\.43\.\S+ +172\.30\.\S+ +\d+:\d+\/TCP/,
        );
        if (world.kind !== "real") {
          await world.waitForAnswer(world.client, { protocol: "tcp", ip: world.node("node1").ip4, port });
        }
        match(
          await run("describe service web"),
          /LoadBalancer Ingress: +172\.30\.0\.1\d[\s\S]*Events:\n[\s\S]*Served by 2 nodes/,
        );
        match(
          await run("events --for service/web"),
          /^LAST SEEN +TYPE +REASON +OBJECT +MESSAGE\n.*Normal +UpdatedLoadBalancer +Service\/web/m,
        );
      },
    );

    kubectlTest("create makes the objects that it has words for", async (run) => {
      match(await run(`create namespace made-by-${name}`), /created/);
      match(await run(`delete namespace made-by-${name} --timeout=60s`), /deleted/);
      await run("create configmap plain --from-literal=a=b");
      await run("create secret generic hidden --from-literal=a=b");
      equal(await run("get secret hidden -o jsonpath={.data.a}"), "Yg==");
      await run("create serviceaccount robot");
      await run("create role reader --verb=get,list --resource=pods");
      await run("create rolebinding reader --role=reader --serviceaccount=default:robot");
      equal(await run("get role reader -o jsonpath={.rules[0].verbs}"), '["get","list"]');
      equal(
        await run("get rolebinding reader -o jsonpath={.subjects[0].kind}/{.roleRef.name}"),
        "ServiceAccount/reader",
      );
      await run("create ingress site --rule=site.example/shop*=web:80");
      equal(await run("get ingress site -o jsonpath={.spec.rules[0].http.paths[0].backend.service.port.number}"), "80");
      await run("create job once --image=busybox -- true");
      equal(await run("get job once -o jsonpath={.spec.template.spec.containers[0].command}"), '["true"]');
      await run("create service clusterip inner --tcp=81:8081");
      equal(await run("get service inner -o jsonpath={.spec.ports[0].targetPort}"), "8081");
      await run("create deployment none --image=nginx --replicas=0");
      equal(await run("get deployment none -o jsonpath={.spec.replicas}"), "0");
    });

    kubectlTest("apply in both kinds, diff, edit, patch, label, annotate, wait, delete", async (run, type) => {
      const dir = mkdtempSync(join(tmpdir(), "k3slb-manifest-"));
      const file = join(dir, "shop.yaml");
      const put = (text: string): void => writeFileSync(file, text);
      put(SHOP(8081));
      match(await run(`apply -f ${file}`), /configmap\/shop created\nservice\/shop created/);
      match(await run(`apply -f ${file}`), /configmap\/shop unchanged\nservice\/shop unchanged/);
      put(SHOP(8082));
      equal((await type(`diff -f ${file}`)).code, 1);
      match(await run(`apply --dry-run=server -f ${file}`), /service\/shop configured \(server dry run\)/);
      equal(await run("get service shop -o jsonpath={.spec.ports[*].port}"), "8081");
      match(await run(`apply -f ${file}`), /configmap\/shop configured\nservice\/shop configured/);
      equal(await run("get service shop -o jsonpath={.spec.ports[*].port}"), "8082");
      match(await run(`apply --server-side --force-conflicts -f ${file}`), /service\/shop serverside-applied/);
      put(SHOP(8082, "  selektor: { app: other }"));
      const refused = await type(`apply -f ${file}`);
      notEqual(refused.code, 0);
      match(refused.stderr, /strict decoding error: unknown field "spec\.selektor"/);
      match(await run("edit service shop", { KUBE_EDITOR: "sed -i s/8082/8083/" }), /service\/shop edited/);
      await run('patch service shop -p {"spec":{"externalTrafficPolicy":"Local"}}');
      equal(
        await run("get service shop -o jsonpath={.spec.ports[*].port}/{.spec.externalTrafficPolicy}"),
        "8083/Local",
      );
      await run("label service shop tier=front");
      await run("annotate service shop note=seen");
      equal(await run("get service -l tier=front -o name"), "service/shop\n");
      match(
        await run("wait --for=jsonpath={.metadata.annotations.note}=seen service/shop --timeout=10s"),
        /condition met/,
      );
      match(await run(`delete -f ${file} --timeout=60s`), /service "shop" deleted/);
      equal(await run("get service,configmap shop --ignore-not-found"), "");
      rmSync(dir, { recursive: true });
    });

    kubectlTest("scale and rollout of a deployment, and a watch of it", async (run, type) => {
      await run("create deployment web --image=nginx:1 --replicas=1");
      await run("rollout status deployment/web --timeout=60s");
      match(await run("scale deployment/web --replicas=3"), /deployment\.apps\/web scaled/);
      await run("rollout status deployment/web --timeout=60s");
      match(
        await run("get deployment,replicaset"),
        /NAME +READY +UP-TO-DATE +AVAILABLE +AGE\n\S*web +3\/3 +3 +3 [\s\S]*NAME +DESIRED +CURRENT +READY/,
      );
      await run("set image deployment/web nginx=nginx:2");
      await run("rollout status deployment/web --timeout=60s");
      match(await run("rollout history deployment/web"), /REVISION +CHANGE-CAUSE\n1 .*\n2 /);
      match(await run("rollout undo deployment/web"), /rolled back/);
      await run("rollout status deployment/web --timeout=60s");
      equal(await run("get deployment web -o jsonpath={.spec.template.spec.containers[0].image}"), "nginx:1");
      match(await run("rollout restart deployment/web"), /restarted/);
      await run("rollout status deployment/web --timeout=60s");
      match(await run("wait --for=condition=Available deployment/web --timeout=30s"), /condition met/);
      const watching = type("get deployment web --watch --request-timeout=6s");
      for (const replicas of [1, 2, 1]) {
        await run(`scale deployment/web --replicas=${replicas}`);
        await run("rollout status deployment/web --timeout=30s");
      }
      const lines = (await watching).stdout.split("\n").filter((line) => line.startsWith("web "));
      ok(lines.length > 1, (await watching).stdout + (await watching).stderr);
      match(await run("describe deployment web"), /Replicas: +1 desired/);
    });

    kubectlTest("explain, auth, nodes, and one line for what the world has not", async (run, type, { world }) => {
      match(
        await run("explain service.spec.ports.port"),
        /FIELD: port <integer>[\s\S]*The port that will be exposed by this service/,
      );
      match(await run("explain deployment.spec.replicas"), /Number of desired pods/);
      equal(await run("auth can-i create services"), "yes\n");
      match(await run("auth can-i --list"), /\*\.\* +\[\] +\[\] +\[\*\]/);
      match(await run("auth whoami"), /Username +admin/);
      match(
        await run("get nodes -o wide"),
        /^NAME +STATUS +ROLES +AGE +VERSION +INTERNAL-IP +EXTERNAL-IP[\s\S]*node1 +Ready +<none> +\S+ +v1\./,
      );
      match(await run("describe node node1"), /InternalIP: +172\.30\.0\.11/);
      match(await run("cordon node2"), /cordoned/);
      match(await run("uncordon node2"), /uncordoned/);
      match(await run("api-resources"), /^services +svc +v1 +true +Service$/m);
      if (world.kind !== "memory") return;
      await run("run web --image=nginx");
      await run("wait --for=condition=Ready pod/web --timeout=30s");
      for (const line of ["logs web", "exec web -- ls", "port-forward pod/web 8080:80"]) {
        const { code, stderr } = await type(line);
        notEqual(code, 0, line);
        match(stderr, /pods have no containers here/, line);
        ok(stderr.trim().split("\n").length <= 2, stderr);
      }
    });
  }
}
