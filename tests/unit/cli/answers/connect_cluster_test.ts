// Where commands that ask look for credentials.
import assert from "node:assert/strict";
import { askingKubeconfigPaths } from "../../../../cli/answers/connect_cluster.ts";
import { SERVER_KUBECONFIG_PATHS } from "../../../../core/kube/access/kubeconfig_paths.ts";

Deno.test("askingKubeconfigPaths: the node's files first, then kubectl's own", () => {
  assert.deepEqual(askingKubeconfigPaths({ HOME: "/home/me" }), [...SERVER_KUBECONFIG_PATHS, "/home/me/.kube/config"]);
});

Deno.test("askingKubeconfigPaths: no home, no such file", () => {
  for (const env of [{}, { HOME: "" }]) assert.deepEqual(askingKubeconfigPaths(env), SERVER_KUBECONFIG_PATHS);
});
