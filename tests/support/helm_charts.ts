// Packed charts made by tests: a ConfigMap that shows the values, and optionally a template that fails.
import { Buffer } from "node:buffer";
import { gzipSync } from "node:zlib";

const BLOCK_BYTES = 512;

/** A packed chart in base64, with `files` below the chart's folder. */
export function packChart(name: string, files: Readonly<Record<string, string>>): string {
  const parts = Object.entries(files).flatMap(([path, text]) => tarEntry(`${name}/${path}`, Buffer.from(text)));
  return gzipSync(Buffer.concat([...parts, Buffer.alloc(2 * BLOCK_BYTES)])).toString("base64");
}

/** A chart whose release is one ConfigMap with `colour` and `size` in it; `fail: true` makes helm refuse it. */
export function testChart(name: string): string {
  return packChart(name, {
    "Chart.yaml": `apiVersion: v2\nname: ${name}\nversion: 1.0.0\n`,
    "values.yaml": "colour: red\nsize: small\nfail: false\nextra: {}\n",
    "templates/shown.yaml": [
      '{{- if .Values.fail }}{{ fail "the colour is out of stock" }}{{ end }}',
      "apiVersion: v1",
      "kind: ConfigMap",
      "metadata:",
      "  name: {{ .Release.Name }}-shown",
      "data:",
      "  colour: {{ .Values.colour | quote }}",
      "  size: {{ .Values.size | quote }}",
      "",
    ].join("\n"),
  });
}

/** One regular file as ustar has it, padded to whole blocks. */
function tarEntry(path: string, content: Buffer): readonly Buffer[] {
  const header = Buffer.alloc(BLOCK_BYTES);
  header.write(path, 0, 100);
  header.write("0000644\0", 100);
  header.write("0000000\0", 108);
  header.write("0000000\0", 116);
  header.write(`${content.length.toString(8).padStart(11, "0")}\0`, 124);
  header.write("00000000000\0", 136);
  header.write(" ".repeat(8), 148);
  header.write("0", 156);
  header.write("ustar\x0000", 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  const padding = Buffer.alloc((BLOCK_BYTES - content.length % BLOCK_BYTES) % BLOCK_BYTES);
  return [header, content, padding];
}
