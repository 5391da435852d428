import assert from "node:assert/strict";
import fc from "fast-check";
import { AnswerReader, renderRequest } from "../../../../../core/kube/transport/http_messages.ts";

/** What a reader makes of `text`, given in parts of `partLength` bytes, and of the connection's end after it. */
function read(text: string, partLength = Infinity): Record<string, unknown> {
  const reader = new AnswerReader();
  const body: Uint8Array[] = [];
  const bytes = Buffer.from(text, "latin1");
  for (let at = 0; at < bytes.length; at += partLength) body.push(...reader.push(bytes.subarray(at, at + partLength)));
  const isComplete = reader.isComplete;
  return {
    status: reader.head?.status,
    body: Buffer.concat(body).toString("latin1"),
    isComplete,
    isConnectionKept: reader.isConnectionKept,
    isCompleteAtEnd: reader.end(),
  };
}

const WHOLE = { status: 200, body: "text", isComplete: true, isConnectionKept: true, isCompleteAtEnd: true };
const TORN = { ...WHOLE, isComplete: false, isConnectionKept: false, isCompleteAtEnd: false };

const ANSWERS: readonly { name: string; given: string; want: Record<string, unknown> }[] = [
  { name: "a length", given: "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntext", want: WHOLE },
  { name: "no reason after the status", given: "HTTP/1.1 200\r\ncontent-length:4\r\n\r\ntext", want: WHOLE },
  {
    name: "chunks, one with an extension, and a trailer",
    given: "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1;a=b\r\nt\r\n003\r\next\r\n0\r\nX: y\r\n\r\n",
    want: WHOLE,
  },
  {
    name: "news before the answer",
    given: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntext",
    want: WHOLE,
  },
  {
    name: "a body that ends with the connection",
    given: "HTTP/1.1 200 OK\r\n\r\ntext",
    want: { ...WHOLE, isComplete: false, isConnectionKept: false },
  },
  {
    name: "a server that hangs up",
    given: "HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 4\r\n\r\ntext",
    want: { ...WHOLE, isConnectionKept: false },
  },
  {
    name: "an older server",
    given: "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\ntext",
    want: { ...WHOLE, isConnectionKept: false },
  },
  {
    name: "two lengths",
    given: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n4\r\ntext\r\n0\r\n\r\n",
    want: { ...WHOLE, isConnectionKept: false },
  },
  {
    name: "more than an answer",
    given: "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntextHTTP/1.1 200 OK\r\n",
    want: { ...WHOLE, isConnectionKept: false },
  },
  { name: "no body", given: "HTTP/1.1 204 No Content\r\n\r\n", want: { ...WHOLE, status: 204, body: "" } },
  { name: "an empty body", given: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", want: { ...WHOLE, body: "" } },
  { name: "half a head", given: "HTTP/1.1 200 OK\r\nA: b\r\n", want: { ...TORN, status: undefined, body: "" } },
  { name: "half a body", given: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntext", want: TORN },
  {
    name: "chunks without an end",
    given: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntext\r\n",
    want: TORN,
  },
];

for (const { name, given, want } of ANSWERS) {
  Deno.test(`AnswerReader reads ${name}, wherever it is torn`, () => {
    for (const partLength of [Infinity, 1, 2, 3, 7]) assert.deepEqual(read(given, partLength), want, `${partLength}`);
  });
}

const REFUSED: readonly { name: string; given: string }[] = [
  { name: "another protocol", given: "SSH-2.0-OpenSSH\r\n" },
  { name: "another protocol without a line's end", given: "\x15\x03\x01\x00\x02" },
  { name: "another version", given: "HTTP/2 200 OK\r\n" },
  { name: "a status that is no number", given: "HTTP/1.1 OK\r\n" },
  { name: "a header without a colon", given: "HTTP/1.1 200 OK\r\nwords and words\r\n" },
  { name: "a blank before the colon", given: "HTTP/1.1 200 OK\r\nContent-Length : 4\r\n" },
  { name: "a continued line", given: "HTTP/1.1 200 OK\r\nA: b\r\n c: d\r\n" },
  { name: "a negative length", given: "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" },
  { name: "lengths that differ", given: "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n" },
  { name: "an encoding that was not asked for", given: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" },
  { name: "a chunk without a length", given: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n" },
  { name: "a chunk that is too long", given: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n" },
  { name: "an endless header", given: `HTTP/1.1 200 OK\r\nA: ${"x".repeat(70_000)}` },
  { name: "endless headers", given: `HTTP/1.1 200 OK\r\n${"A: b\r\n".repeat(20_000)}` },
];

for (const { name, given } of REFUSED) {
  Deno.test(`AnswerReader refuses ${name}`, () => {
    for (const partLength of [Infinity, 1]) assert.throws(() => read(given, partLength), SyntaxError);
  });
}

Deno.test("AnswerReader gives back what was sent in chunks, however they and the parts are cut", () => {
  const size = fc.integer({ min: 1, max: 40 });
  fc.assert(fc.property(fc.array(fc.string({ minLength: 1 })), size, (texts, partLength) => {
    const chunks = texts.map((text) => Buffer.from(text));
    const lines = chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk.toString("latin1")}\r\n`).join("");
    const answer = `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${lines}0\r\n\r\n`;
    assert.deepEqual(read(answer, partLength), { ...WHOLE, body: Buffer.concat(chunks).toString("latin1") });
  }));
});

Deno.test("renderRequest() counts the body in bytes, and lets nothing end a line early", () => {
  const request = { method: "PUT", target: "/a?b=c", headers: [["host", "h:1"], ["a", "b"], ["a", "c"]] } as const;
  assert.equal(
    Buffer.from(renderRequest(request)).toString(),
    "PUT /a?b=c HTTP/1.1\r\nhost: h:1\r\na: b\r\na: c\r\n\r\n",
  );
  assert.match(Buffer.from(renderRequest({ ...request, body: "é" })).toString(), /\r\ncontent-length: 2\r\n\r\né$/);
  for (const value of ["a\nb", "a\r\nb", "a\0", "\u0100"]) {
    assert.throws(() => renderRequest({ ...request, headers: [["authorization", value]] }), {
      message: 'Invalid character in header "authorization"',
    });
  }
  assert.throws(() => renderRequest({ ...request, headers: [["a b", "c"]] }), TypeError);
  for (const target of ["a", "/a b", "/a\r\n", "/é"]) {
    assert.throws(() => renderRequest({ ...request, target }), TypeError);
  }
});
