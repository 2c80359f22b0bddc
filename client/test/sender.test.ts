// When a message goes out, goes out again, and is given up.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Sender } from "../src/sender.js";
import type { Kept } from "../src/storage.js";
import type { Said } from "../src/wire.js";
import { TestClock } from "./support/clock.js";

/** A sender, and what it does: `a` sent, `a!` sent again, `silent`, `failed a timeout`. */
function rig() {
  const clock = new TestClock();
  const log: string[] = [];
  let heardAt = 0;
  const sender: Sender = new Sender(clock, {
    send: (said: Said) => {
      assert(said.kind === "send");
      log.push(said.content + (said.resend ? "!" : ""));
      return true;
    },
    stored: (message, id) => log.push(`stored ${message.content} ${id}`),
    failed: (message, code) => log.push(`failed ${message.content} ${code}`),
    silent: () => {
      log.push("silent");
      sender.lost();
    },
    heardAt: () => heardAt,
  });
  let created = 0;
  const add = (...names: string[]) => {
    for (const name of names) sender.add(message(name, ++created));
  };
  const take = () => log.splice(0).join(" ");
  const succeed = (name: string) => {
    heardAt = clock.now();
    sender.heard({ kind: "success", timestamp: "", clientMsgId: name, messageId: "7" });
  };
  const fail = (name: string, code: string) => {
    heardAt = clock.now();
    sender.heard({ kind: "failure", timestamp: "", clientMsgId: name, code, message: "" });
  };
  const hear = () => (heardAt = clock.now());
  return { clock, sender, add, take, succeed, fail, hear };
}

function message(name: string, createdAt: number): Kept {
  return {
    clientMsgId: name, toId: 2, content: name, timestamp: "5", createdAt,
    state: "pending", sent: false,
  };
}

test("without an answer it goes out again after 6, 12 and 18 s, and fails after 24", async () => {
  const { clock, sender, add, take, hear } = rig();
  sender.opened();
  add("a");
  assert.equal(take(), "a");
  for (const _ of [1, 2, 3]) {
    await clock.pass(5999);
    assert.equal(take(), "");
    hear(); // the socket lives: something else came in
    await clock.pass(1);
    assert.equal(take(), "a!");
  }
  await clock.pass(5999);
  assert.equal(take(), "");
  await clock.pass(1);
  assert.equal(take(), "failed a timeout");
  await clock.pass(60_000);
  assert.equal(take(), "");
});

test("two tries and not a word from the socket: it is given up, the message is not", async () => {
  const { clock, sender, add, take } = rig();
  sender.opened();
  add("a");
  await clock.pass(12_000);
  assert.equal(take(), "a a! silent");
  await clock.pass(3_600_000);
  assert.equal(take(), "", "without a connection no time runs out");
  sender.opened();
  assert.equal(take(), "a!");
});

test("a server that answers nothing on any connection fails the message at last", async () => {
  const { clock, sender, add, take } = rig();
  sender.opened();
  add("a");
  const log: string[] = [];
  for (let seconds = 0; seconds < 30; seconds++) {
    await clock.pass(1000);
    const now = take();
    if (now) log.push(now);
    if (now.endsWith("silent")) sender.opened();
  }
  assert.deepEqual(log, ["a", "a!", "silent", "a!", "silent", "a!", "failed a timeout"]);
});

test("tries that a broken connection cut short do not count", async () => {
  const { clock, sender, add, take, hear } = rig();
  sender.opened();
  add("a");
  for (let breaks = 0; breaks < 10; breaks++) {
    await clock.pass(3000);
    sender.lost();
    sender.opened();
  }
  assert.equal(take(), "a" + " a!".repeat(10));
  hear();
  await clock.pass(6000);
  assert.equal(take(), "a!");
});

test("a timer that was held back proves nothing before the answers that lie there were read", async () => {
  const { clock, sender, add, take, succeed } = rig();
  sender.opened();
  add("a");
  take();
  clock.skip(60_000); // the page is hidden
  await clock.pass(999);
  assert.equal(take(), "");
  succeed("a");
  await clock.pass(60_000);
  assert.equal(take(), "stored a 7");
});

test("and without an answer it goes out again a second later", async () => {
  const { clock, sender, add, take } = rig();
  sender.opened();
  add("a");
  clock.skip(60_000);
  await clock.pass(1000);
  assert.equal(take(), "a a!");
});

test("many go out without waiting for each other, 32 at most, in order", async () => {
  const { sender, add, take, succeed, clock } = rig();
  sender.opened();
  const names = Array.from({ length: 40 }, (_, i) => `m${i}`);
  add(...names);
  assert.equal(take(), names.slice(0, 32).join(" "));
  succeed("m0");
  succeed("m5");
  assert.equal(take(), "stored m0 7 m32 stored m5 7 m33");
  await clock.pass(1000);
  assert.equal(take(), "", "the window is full");
});

test("they stay below 20 a second and 60 at once", async () => {
  const { sender, add, take, succeed, clock } = rig();
  sender.opened();
  add(...Array.from({ length: 300 }, (_, i) => `m${i}`));
  const sentAt: number[] = [];
  for (let ms = 0; ms < 20_000; ms += 10) {
    for (let sent = take(); sent; sent = take()) {
      for (const word of sent.match(/\bm\d+\b(?! 7)/g) ?? []) {
        sentAt.push(clock.now());
        succeed(word);
      }
    }
    await clock.pass(10);
  }
  assert.equal(sentAt.length, 300);
  // The server's bucket: 60 to begin with, 20 more each second.
  let bucket = 60;
  let before = sentAt[0] ?? 0;
  for (const at of sentAt) {
    bucket = Math.min(60, bucket + ((at - before) * 20) / 1000) - 1;
    before = at;
    assert(bucket >= 0, `too fast at ${at}`);
  }
});

test("a window that is turned down at once goes out again in order, after one pause", async () => {
  // Used to come back in reverse order, with a pause for each of its messages.
  const { sender, add, take, fail, clock } = rig();
  sender.opened();
  add("a", "b", "c");
  take();
  for (const name of ["a", "b", "c"]) fail(name, "rate_limited");
  await clock.pass(999);
  assert.equal(take(), "");
  await clock.pass(1);
  assert.equal(take(), "a! b! c!");
});

test("pauses grow, and success ends them", async () => {
  const { sender, add, take, fail, succeed, clock } = rig();
  sender.opened();
  add("a");
  for (const seconds of [1, 2, 4, 8, 16, 16]) {
    take();
    fail("a", "rate_limited");
    await clock.pass(seconds * 1000 - 1);
    assert.equal(take(), "");
    await clock.pass(1);
    assert.equal(take(), "a!");
  }
  succeed("a");
  add("b");
  take();
  fail("b", "rate_limited");
  await clock.pass(1000);
  assert.equal(take(), "b!");
});

test("a store that is unavailable is tried again, and not for ever", async () => {
  const { sender, add, take, fail, clock } = rig();
  sender.opened();
  add("a");
  for (let tries = 0; tries < 4; tries++) {
    assert.equal(take(), tries ? "a!" : "a");
    fail("a", "store_unavailable");
    if (tries < 3) await clock.pass(1000 * 2 ** tries);
  }
  assert.equal(take(), "failed a store_unavailable");
});

test("what cannot be mended fails at once, and holds nothing up", () => {
  const codes = [
    "bad_frame", "from_mismatch", "bad_recipient", "empty_content", "content_too_large",
    "id_reused", "inbox_full", "unsupported_type", "something_new",
  ];
  for (const code of codes) {
    const { sender, add, take, fail, succeed } = rig();
    sender.opened();
    add("a", "b");
    take();
    fail("a", code);
    succeed("b");
    assert.equal(take(), `failed a ${code} stored b 7`);
  }
});

test("what was on its way goes out before what is new, and says that it is a resend", () => {
  const { sender, add, take, succeed } = rig();
  sender.opened();
  add("a", "b");
  sender.lost();
  add("c");
  take();
  sender.opened();
  assert.equal(take(), "a! b! c");
  succeed("a");
  succeed("a");
  assert.equal(take(), "stored a 7");
});

test("of what is too big for the server the longest fails, the rest goes out again", () => {
  const { sender, add, take } = rig();
  sender.opened();
  add("short", "the longest by far", "middling");
  take();
  assert(sender.tooBig());
  sender.lost();
  sender.opened();
  assert.equal(take(), "failed the longest by far content_too_large short! middling!");
  sender.clear();
  assert(!sender.tooBig());
});
