// What source ranges of one family mean for clients of the other.
import { deepEqual } from "node:assert/strict";
import { SOURCE_RANGES_ANNOTATION } from "../../../../core/service/labels.ts";
import { readService } from "../../../../core/service/reading.ts";
import { service } from "../service_lb/fixtures.ts";

const BOTH = ["IPv4", "IPv6"];
const TABLE: readonly {
  readonly name: string;
  readonly families: string[];
  readonly ranges: string[];
  readonly want: readonly string[];
}[] = [
  {
    name: "everyone of IPv4 closes IPv6",
    families: BOTH,
    ranges: ["0.0.0.0/0"],
    want: ["Source ranges 0.0.0.0/0 admit no IPv6 client; add ::/0 to admit all"],
  },
  {
    name: "everyone of IPv6 closes IPv4",
    families: ["IPv6", "IPv4"],
    ranges: ["::/0"],
    want: ["Source ranges ::/0 admit no IPv4 client; add 0.0.0.0/0 to admit all"],
  },
  { name: "both are named", families: BOTH, ranges: ["0.0.0.0/0", "::/0"], want: [] },
  { name: "one family is open, the other narrow", families: BOTH, ranges: ["0.0.0.0/0", "fd00::/8"], want: [] },
  { name: "a narrow range means what it says", families: BOTH, ranges: ["10.0.0.0/8"], want: [] },
  { name: "there is one family", families: ["IPv4"], ranges: ["0.0.0.0/0"], want: [] },
];

for (const { name, families, ranges, want } of TABLE) {
  Deno.test(`readService() warns of a family that source ranges close: ${name}`, () => {
    const given = service({ spec: { ipFamilies: families, loadBalancerSourceRanges: ranges } });
    deepEqual(readService(given).warnings.map(({ message }) => message), want);
  });
}

Deno.test("readService() takes a source range annotation of empty elements alone for none, and passes over those beside ranges", () => {
  const reading = (text: string): ReturnType<typeof readService> =>
    readService(service({ annotations: { [SOURCE_RANGES_ANNOTATION]: text } }));
  for (const text of [",", " , ,"]) {
    const { faults, unknownAccess, sourceRanges } = reading(text);
    deepEqual([faults.length, unknownAccess?.reason, sourceRanges], [1, "InvalidSourceRange", undefined], text);
  }
  deepEqual(reading("10.0.0.0/8,,").sourceRanges, ["10.0.0.0/8"]);
  deepEqual([reading(" ").faults, reading(" ").sourceRanges], [[], undefined]);
});
