import { equal, ok } from "node:assert/strict";
import { redact } from "../../../../cli/dump/redact.ts";

const KEY = "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQC7";
const JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";

/** Each text, and what must not be left of it. */
const PLANTED: readonly (readonly [string, string])[] = [
  [`-----BEGIN RSA PRIVATE KEY-----\n${KEY}\n-----END RSA PRIVATE KEY-----`, KEY],
  [JSON.stringify({ key: `-----BEGIN EC PRIVATE KEY-----\n${KEY}\n-----END EC PRIVATE KEY-----` }), KEY],
  [`-----BEGIN PRIVATE KEY-----\n${KEY} cut off here`, KEY],
  [`client-key-data: ${KEY}`, KEY],
  [`"client-certificate-data": "${KEY}"`, KEY],
  [`certificate-authority-data: ${KEY}`, KEY],
  [`the kubelet said ${JWT} to it`, "c2lnbmF0dXJl"],
  [`Authorization: Bearer s3cr3t-t0ken.of/somebody==`, "s3cr3t-t0ken"],
  [`K3S_TOKEN=K1012345678901234567890abcdef::server:s3cr3tpassword`, "s3cr3tpassword"],
  [`node joined with K1012345678901234567890abcdef::node:s3cr3tpassword`, "s3cr3tpassword"],
  [`kubeadm join --with abcdef.0123456789abcdef`, "0123456789abcdef"],
  [`helm pull https://me:s3cr3t@charts.example.com/x`, "s3cr3t"],
  [`DB_PASSWORD='s3cr3t with blanks'`, "s3cr3t"],
  [String.raw`{"password": "s3c\"r3t"}`, "r3t"],
  [String.raw`"annotation": "{\"password\": \"s3cr3t\"}"`, "s3cr3t"],
  [`apiKey: s3cr3t`, "s3cr3t"],
  [`--set adminPassword=s3cr3t,replicas=2`, "s3cr3t"],
  [`AWS_SECRET_ACCESS_KEY=s3cr3t`, "s3cr3t"],
  [`secretAccessKey: s3cr3t`, "s3cr3t"],
  [`registryPass: s3cr3t`, "s3cr3t"],
  [`Authorization: s3cr3t`, "s3cr3t"],
  [`k3s agent --token s3cr3t --server x`, "s3cr3t"],
  [`["--password", "s3cr3t"]`, "s3cr3t"],
  [`data:\n  password: |\n    s3cr3t\n    more\n`, "s3cr3t"],
  [JSON.stringify({ text: `data:\n  password: >-\n    s3cr3t\n` }), "s3cr3t"],
];

for (const [text, secret] of PLANTED) {
  Deno.test(`redact: ${text.slice(0, 40).replaceAll("\n", " ")}`, () => {
    ok(text.includes(secret));
    const left = redact(text);
    ok(!left.includes(secret), left);
    ok(left.includes("REDACTED"));
  });
}

Deno.test("redact: what is said of a Service stays", () => {
  const text = [
    `web: process "nginx" (pid 7) on this node has 80/TCP; node1, 192.0.2.1, fd00::1`,
    `-A K3SLB-SERVICES -p tcp -m tcp --dport 80 -m comment --comment "shop/web" -c 3 180 -j K3SLB-S-0123456789ABCDEF`,
    `k3slb_api_requests_total{code="200",resource="secrets",verb="list"} 3`,
    `2026-01-01T00:00:00Z INFO Credentials found cluster=https://192.0.2.1:6443 kubeconfig=/etc/x`,
  ].join("\n");
  equal(redact(text), text);
});
