// The golden frames, which the server's tests read too.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { read, write, type Said } from "../src/wire.js";

interface Vector {
  name: string;
  frame: string;
  dialects?: string[];
  means: Record<string, unknown>;
}

const vectors = (name: string): Vector[] =>
  JSON.parse(readFileSync(`${import.meta.dirname}/../../../tests/vectors/${name}.json`, "utf8"));

test("every frame of the server means what the vectors say", () => {
  const all = vectors("server");
  assert(all.length > 8);
  for (const { name, frame, means } of all) assert.deepEqual(read(frame), means, name);
});

test("every frame of the client is written as the vectors have it, byte for byte", () => {
  const all = vectors("client").filter(({ dialects }) => dialects?.includes("v2"));
  assert(all.length > 4);
  for (const { name, frame, means } of all) {
    assert.equal(write(1, means as unknown as Said), frame, name);
  }
});

test("frames of kinds that are not known, and what is none, mean nothing", () => {
  const texts = [
    "", "null", "7", "[]", "{", '{"type":2}', '{"type":3,"content":7}',
    '{"fromId":0,"toId":1,"type":99,"content":"","timestamp":"","Describe":""}',
    '{"fromId":0,"toId":1,"type":0,"content":"","timestamp":"","Describe":"no json"}',
    '{"fromId":0,"toId":1,"type":6,"content":"head","timestamp":"","Describe":"{}"}',
  ];
  for (const text of texts) assert.equal(read(text), null, text);
});

test("nothing in Describe passes for a member of the frame", () => {
  const Describe = JSON.stringify({ kind: "typing", fromId: 9, content: "x", messageId: "3" });
  const frame = { fromId: 2, toId: 1, type: 2, content: "hi", timestamp: "5", Describe };
  const { kind, fromId, content } = read(JSON.stringify(frame)) as Record<string, unknown>;
  assert.deepEqual({ kind, fromId, content }, { kind: "message", fromId: 2, content: "hi" });
});
