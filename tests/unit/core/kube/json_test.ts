// Integers that a JavaScript number can't hold, from the API server's JSON and back.
import assert from "node:assert/strict";
import { parseJson } from "../../../../core/kube/json.ts";

Deno.test("parseJson: integers beyond 2^53 keep their digits, also when written again", () => {
  for (
    const text of [
      '{"a":9007199254740993,"b":[-9223372036854775808,1234567890123456789],"c":"9007199254740993"}',
      '{"a":{"b":1.5,"c":12345678901234567890}}',
      '{"a":1,"b":null,"c":[true,"x"]}',
    ]
  ) assert.equal(JSON.stringify(parseJson(text)), text);
});

Deno.test("parseJson: all else is what JSON.parse makes of it", () => {
  const cases = ['{"a":1e300,"b":0.12345678901234567890}', '{"a":9007199254740992}', '"1234567890123456789"', "[]"];
  for (const text of cases) assert.deepEqual(parseJson(text), JSON.parse(text), text);
  assert.throws(() => parseJson('{"a":12345678901234567890'), SyntaxError);
});
