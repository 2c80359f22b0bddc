// What the page is told, also where what it is told from fails.

import assert from "node:assert/strict";
import { test } from "node:test";
import { settled } from "./support/clock.js";
import { FakeServer, online, seat } from "./support/fake.js";

test("a count that failed is asked for again while the socket lives", async () => {
  const { client, server, clock } = seat();
  let counts = false;
  server.answer = ({ path }) => (path.startsWith("conversations") && !counts ? "down" : undefined);
  server.conversations = [{ peerId: 2, unread: 3 }];
  client.connect();
  await settled();
  await server.socket.ready("7");
  await clock.pass(30_000);
  assert.equal(client.unread, 0);
  counts = true;
  await clock.pass(5000);
  assert.deepEqual([client.unread, client.unreadOf(2)], [3, 3]);
  const asked = server.of("conversations").length;
  await clock.pass(60_000);
  assert.equal(server.of("conversations").length, asked, "and not once more");
});

test("what the server has counted is not counted once more when it comes", async () => {
  const server = new FakeServer();
  server.conversations = [{ peerId: 2, unread: 1, last: "8" }];
  const { client, told } = await online({}, server);
  const unread = () => [client.unread, client.unreadOf(2)];
  assert.deepEqual(unread(), [1, 1]);
  // It was stored before the count, and is told of after it.
  await server.socket.message(8);
  assert.equal(told.message.length, 1);
  assert.deepEqual(unread(), [1, 1]);
  await server.socket.message(9);
  assert.deepEqual(unread(), [2, 2]);
  // That it was read elsewhere only the server can take off.
  server.conversations = [{ peerId: 2, unread: 1, last: "9" }];
  await server.socket.say({ fromId: 1, type: 3, content: "[8]" });
  assert.deepEqual(unread(), [1, 1]);
});

test("nobody counts for a page whose socket is gone", async () => {
  const { client, server, clock } = await online();
  server.answer = ({ path }) => (path.startsWith("conversations") ? "down" : undefined);
  await server.socket.say({ fromId: 1, type: 3, content: "[5]" });
  client.close();
  const asked = server.of("conversations").length;
  assert.equal(asked, 2, "somebody else's mark asks for the count");
  await clock.pass(60_000);
  assert.equal(server.of("conversations").length, asked);
});

test("after a logout nothing is counted of who was there", async () => {
  const server = new FakeServer();
  server.conversations = [{ peerId: 2, unread: 3 }];
  let held: Promise<void> | undefined;
  const slow = async (...call: Parameters<typeof server.fetch>) => {
    const answer = await server.fetch(...call);
    await held;
    return answer;
  };
  const { client, told } = await online({ fetch: slow as typeof fetch }, server);
  assert.equal(client.unread, 3);
  let release = () => {};
  held = new Promise((done) => (release = done));
  await server.socket.say({ fromId: 1, type: 3, content: "[5]" });
  await client.logout();
  // It used to be 0 without a word, and then 3 again.
  assert.equal(told.unread.at(-1)?.total, 0);
  release();
  await settled();
  assert.deepEqual([client.unread, told.unread.at(-1)?.total], [0, 0]);
});

test("an IndexedDB that never answers holds nobody up for ever", async (t) => {
  const stuck = { open: () => ({}) };
  Object.defineProperty(globalThis, "indexedDB", { value: stuck, configurable: true });
  t.after(() => Reflect.deleteProperty(globalThis, "indexedDB"));
  const { client, server, clock } = seat();
  client.connect();
  await clock.pass(9999);
  assert.equal(server.sockets.length, 0, "it may still answer");
  await clock.pass(1);
  await server.socket.ready();
  assert.equal(client.state, "online");
  const sent = client.send(2, "hello");
  await settled();
  await server.socket.succeed(server.socket.of(0)[0], 9);
  assert.equal((await sent).messageId, "9");
});
