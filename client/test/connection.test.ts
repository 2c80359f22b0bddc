// One socket's life: how it opens, what each end of it leads to, and when it is over for good.

import assert from "node:assert/strict";
import { test } from "node:test";
import { settled } from "./support/clock.js";
import { FakeServer, online, seat, token } from "./support/fake.js";

test("with a ticket the address holds that and no token", async () => {
  const { server } = await online();
  assert.equal(server.socket.url, "wss://im.test/teaching/imserver/ticket-1");
  assert.deepEqual(server.socket.protocols, ["im.v2"]);
});

test("by subprotocol the address holds nothing", async () => {
  const jwt = token(1);
  const { server } = await online({ transport: "subprotocol", getToken: () => jwt });
  assert.equal(server.socket.url, "wss://im.test/teaching/imserver");
  assert.deepEqual(server.socket.protocols, ["im.v2", `im.bearer.${jwt}`]);
  assert.equal(server.of("tickets").length, 0);
});

test("it is online once the server says that nothing is missing", async () => {
  const { client, server, told } = seat();
  client.connect();
  client.connect();
  await settled();
  assert.equal(server.sockets.length, 1, "connecting twice is connecting once");
  await server.socket.open();
  assert.equal(client.state, "connecting");
  await server.socket.upToDate();
  assert.equal(client.state, "online");
  assert.deepEqual(told.state, [{ state: "online", reason: "" }]);
});

test("waits double from half a second to 30 s, by chance within them", async () => {
  const { server, clock } = await online();
  await server.socket.end(1006);
  for (const seconds of [0.5, 1, 2, 4, 8, 16, 30, 30]) {
    const before = server.sockets.length;
    await clock.pass(seconds * 1000 - 1);
    assert.equal(server.sockets.length, before, `before ${seconds} s`);
    await clock.pass(1);
    assert.equal(server.sockets.length, before + 1, `after ${seconds} s`);
    await server.socket.end(1006);
  }
  clock.chance = 0.1;
  await clock.pass(30_000);
  await server.socket.end(1006);
  const before = server.sockets.length;
  await clock.pass(3000);
  assert.equal(server.sockets.length, before + 1, "full jitter: a tenth of the wait");
});

test("only a connection that came up to date ends the doubling", async () => {
  const { server, clock } = await online();
  for (const seconds of [0.5, 1, 2]) {
    await server.socket.end(4408, "no_pong");
    await clock.pass(seconds * 1000);
    await server.socket.open();
  }
  await server.socket.upToDate();
  const before = server.sockets.length;
  await server.socket.end(4408, "no_pong");
  await clock.pass(500);
  assert.equal(server.sockets.length, before + 1);
});

test("it comes back when the server says, not before", async () => {
  for (const [code, reason] of [[1001, "drain retry_ms=7000"], [1013, "try_later retry_ms=7000"]] as const) {
    const { server, clock, client } = await online();
    await server.socket.end(code, reason);
    await clock.pass(6999);
    assert.equal(server.sockets.length, 1);
    assert.equal(client.state, "connecting");
    await clock.pass(1);
    assert.equal(server.sockets.length, 2);
  }
});

test("whoever was sent away for misbehaving stays away for a minute", async () => {
  const { server, clock } = await online();
  await server.socket.end(1008, "too_many_violations");
  await clock.pass(59_999);
  assert.equal(server.sockets.length, 1);
  await clock.pass(1);
  assert.equal(server.sockets.length, 2);
});

test("a line that stalled and a fault of the server's own are reasons to come back soon", async () => {
  for (const [code, reason] of [[1008, "unfinished_message"], [1011, "internal"]] as const) {
    const { server, clock, client, told } = await online();
    for (let times = 1; times <= 5; times++) {
      await server.socket.end(code, reason);
      assert.deepEqual(told.state.at(-1), { state: "connecting", reason });
      await clock.pass(500);
      assert.equal(server.sockets.length, times + 1);
      await server.socket.open();
      await server.socket.upToDate();
      assert.equal(client.state, "online");
    }
  }
});

test("Retry-After before a ticket is honoured", async () => {
  const { client, server, clock } = seat();
  server.answer = ({ path }) =>
    path === "tickets" && server.calls.length === 1
      ? [429, { code: "rate_limited", message: "" }, { "retry-after": "40" }]
      : undefined;
  client.connect();
  await clock.pass(39_999);
  assert.equal(server.of("tickets").length, 1);
  await clock.pass(1);
  assert.equal(server.sockets.length, 1);
});

test("three ends of our own making in a row are the end", async () => {
  for (const [code, reason] of [[1002, "protocol"], [1003, "binary_frame"], [1007, "invalid_utf8"]] as const) {
    const { server, clock, client, told } = await online();
    for (let times = 1; times <= 3; times++) {
      assert.notEqual(client.state, "failed");
      await server.socket.end(code, reason);
      await clock.pass(10_000);
    }
    assert.deepEqual(told.state.at(-1), { state: "failed", reason });
    const before = server.sockets.length;
    await clock.pass(3_600_000);
    assert.equal(server.sockets.length, before, "no more tries");
    client.connect();
    await settled();
    assert.equal(server.sockets.length, before + 1, "but when asked");
  }
});

test("pages that may not connect are told, and do not try for ever", async () => {
  const { client, server, clock } = seat();
  server.answer = () => [403, { code: "origin_not_allowed", message: "" }];
  client.connect();
  await clock.pass(3_600_000);
  assert.equal(client.state, "failed");
  assert.equal(server.of("tickets").length, 3);
});

test("a message too big for the server fails, and does not end the connection for good", async () => {
  // Used to be sent again on every connection until the client gave up, and after a reload.
  const { client, server, clock } = await online();
  const big = client.send(2, "x".repeat(70_000));
  const small = client.send(2, "small");
  await settled();
  await server.socket.end(1009, "frame_too_big");
  await assert.rejects(big, { code: "content_too_large" });
  await clock.pass(500);
  await server.socket.ready();
  assert.deepEqual(server.socket.messages, ["small!"]);
  await server.socket.succeed(server.socket.of(0)[0]);
  assert.equal((await small).messageId, "1");
});

test("4401 and 4403: a fresh token, then back", async () => {
  for (const [code, reason] of [[4401, "token_expired"], [4403, "token_revoked"]] as const) {
    let asked = 0;
    const getToken = () => token(1, 3600, String(++asked));
    const { server, clock, client } = await online({ getToken });
    await server.socket.end(code, reason);
    await clock.pass(500);
    assert.equal(asked, 2);
    await server.socket.ready();
    assert.equal(client.state, "online");
    assert.equal(server.of("tickets").at(-1)?.token, token(1, 3600, "2"));
  }
});

test("the same token again is the end, and why", async () => {
  const cases = [[4401, "token_expired"], [4403, "token_revoked"]] as const;
  for (const [code, reason] of cases) {
    let asked = 0;
    const jwt = token(1);
    const { server, clock, told } = await online({ getToken: () => (asked++, jwt) });
    await server.socket.end(code, reason);
    await clock.pass(3_600_000);
    assert.deepEqual(told.state.at(-1), { state: "signed-out", reason });
    assert.equal(asked, 2, "no loop");
    assert.equal(server.sockets.length, 1);
  }
});

test("a token that a call has brought is not taken for refused when the old one ends", async () => {
  // Used to ask for one more, get the same, and sign out.
  let asked = 0;
  const tokens = [token(1, 3600, "old"), token(1, 3600, "new")];
  const { client, server, clock } = await online({ getToken: () => tokens[Math.min(asked++, 1)] ?? null });
  server.answer = (call) => (call.token === tokens[0] ? [401, { code: "invalid_token" }] : undefined);
  await client.me();
  assert.equal(asked, 2);
  await server.socket.end(4401, "token_expired");
  await clock.pass(500);
  assert.equal(server.sockets.length, 2);
  assert.equal(asked, 2);
});

test("a token source that fails is asked again, and is not the end", async () => {
  let there = false;
  const { client, server, clock } = seat({
    getToken: () => {
      if (!there) throw new Error("the page's backend is down");
      return token(1);
    },
  });
  client.connect();
  await clock.pass(60_000);
  assert.equal(client.state, "connecting");
  there = true;
  await clock.pass(2000);
  await server.socket.ready();
  there = false;
  await server.socket.end(4401, "token_expired");
  await clock.pass(120_000);
  assert.equal(client.state, "connecting");
  assert.equal(server.sockets.length, 1);
});

test("an error page in the place of a token is no other user, and asked for again", async () => {
  // Used to be the end, with the reason `another_user`.
  const given = [token(1), "<h1>502 Bad Gateway</h1>", token(1, 3600, "new")];
  const { client, server, clock } = await online({ getToken: () => given.shift() ?? null });
  await server.socket.end(4401, "token_expired");
  await settled();
  assert.equal(client.state, "connecting");
  await clock.pass(60_000);
  await server.socket.ready();
  assert.equal(client.state, "online");
  assert.equal(given.length, 0);
});

test("what is no token from the start is told by its reason, and asked for again", async () => {
  // A development server answers every address with its page: it used to look like no network.
  const given: (string | null)[] = ["<!doctype html>\n<title>你好</title>", "Not Found", token(1)];
  const { client, server, clock, told } = seat({ getToken: () => given.shift() ?? null });
  client.connect();
  await settled();
  assert.deepEqual(told.state, [{ state: "connecting", reason: "not_a_token" }]);
  await clock.pass(4000);
  await server.socket.ready();
  assert.equal(client.state, "online");
});

test("no token, or one of another user, is the end", async () => {
  const none = seat({ getToken: () => null });
  none.client.connect();
  await settled();
  assert.deepEqual(none.told.state.at(-1), { state: "signed-out", reason: "no_token" });

  let user = 1;
  const other = await online({ getToken: () => token(user++) });
  await other.server.socket.end(4401, "token_expired");
  await settled();
  assert.deepEqual(other.told.state.at(-1), { state: "signed-out", reason: "another_user" });
});

test("a refused upgrade by subprotocol is looked into: browsers do not tell why", async () => {
  const { client, server, clock, told } = seat({ transport: "subprotocol" });
  server.answer = ({ path }) => (path === "me" ? [401, { code: "invalid_token" }] : undefined);
  client.connect();
  await settled();
  await server.socket.end(1006);
  await clock.pass(60_000);
  assert.deepEqual(told.state.at(-1), { state: "signed-out", reason: "token_refused" });
  assert.equal(server.sockets.length, 1);
});

test("the token is refreshed when four fifths of its life are over, asked for once", async () => {
  let asked = 0;
  let give: (jwt: string) => void = () => {};
  const { server, clock, client } = await online({
    getToken: () => (++asked === 1 ? token(1, 100_000) : new Promise((done) => (give = done))),
  });
  // Silence is looked into meanwhile; those refreshes hold the old token and are answered.
  await passAlive(server, clock, 79_000);
  assert.equal(asked, 1);
  await passAlive(server, clock, 2_000);
  assert.equal(asked, 2);
  server.answer = ({ path, token: jwt }) =>
    path === "me" && jwt === first(server) ? [401, { code: "invalid_token" }] : undefined;
  const me = client.me();
  await settled();
  assert.equal(asked, 2, "whoever needs one meanwhile waits for the same");
  const fresh = token(1, 200_000, "fresh");
  give(fresh);
  await me;
  assert.equal(server.socket.of(5).at(-1)?.content, fresh);
});

function first(server: FakeServer): string | undefined {
  return server.calls[0]?.token;
}

/** Lets seconds pass on a socket that answers what it is asked. */
async function passAlive(server: FakeServer, clock: { pass(ms: number): Promise<void> }, seconds: number) {
  for (let passed = 0; passed < seconds; passed += 100) {
    await clock.pass(Math.min(100, seconds - passed) * 1000);
    await server.socket.say({ fromId: 2, type: 4 });
  }
}

test("it comes at least 30 s before the end where the life is long enough", async () => {
  for (const [life, at] of [[40, 32], [100, 70], [600, 480]] as const) {
    const asked: number[] = [];
    const start = { now: 0 };
    const { server, clock } = await online({
      getToken: () => {
        asked.push(start.now);
        return token(1, life, String(asked.length));
      },
    });
    for (; asked.length < 2 && start.now < life; start.now += 1) {
      await clock.pass(1000);
      if (start.now % 50 === 0) await server.socket.say({ fromId: 2, type: 4 });
    }
    // The claims hold whole seconds, and Node's real clock goes on meanwhile.
    assert(Math.abs((asked[1] ?? Infinity) - at) <= 2, `${life} s: after ${asked[1]} s`);
  }
});

test("a refresh that the server turns down leaves the connection its old end", async () => {
  let asked = 0;
  const { server, clock, client } = await online({ getToken: () => token(1, 60, String(++asked)) });
  await clock.pass(50_000);
  const refresh = server.socket.of(5).at(-1);
  await server.socket.fail(refresh, "bad_token");
  assert.equal(client.state, "online");
  await server.socket.end(4401, "token_expired");
  await clock.pass(500);
  assert.equal(server.sockets.length, 2);
});

test("a socket that was silent for two minutes is asked, and left if it does not answer", async () => {
  const { server, clock } = await online();
  await clock.pass(119_000);
  assert.equal(server.socket.of(5).length, 0);
  await clock.pass(16_000);
  assert.equal(server.socket.of(5).length, 1);
  await server.socket.succeed(server.socket.of(5)[0]);
  await clock.pass(60_000);
  assert.equal(server.sockets.length, 1, "it lives");
  await clock.pass(80_000);
  assert.equal(server.socket.of(5).length, 2);
  await clock.pass(5500);
  assert.equal(server.sockets.length, 2, "it does not");
});

test("after a long sleep the socket is not trusted", async () => {
  const { server, clock } = await online();
  clock.skip(8 * 3_600_000);
  await clock.pass(4999);
  assert.equal(server.socket.of(5).length, 1);
  await clock.pass(501);
  assert.equal(server.sockets.length, 2);
});

test("a server that takes the connection and says nothing is left after 15 s", async () => {
  const { client, server, clock } = seat();
  client.connect();
  await clock.pass(15_500);
  assert.equal(server.sockets.length, 2);
  assert.equal(server.sockets[0]?.readyState, 3);
});

test("a call for a ticket that the network swallowed does not hold up the next", async () => {
  // One that had begun to come used to hold it up for as long as the network liked.
  for (const swallowed of ["silent", "half"] as const) {
    const { client, server, clock } = seat();
    server.answer = () => (server.calls.length === 1 ? swallowed : undefined);
    client.connect();
    await clock.pass(15_500);
    assert.equal(server.sockets.length, 1, swallowed);
  }
});

test("an answer that is no JSON is none", async () => {
  const { client, server, clock } = seat();
  // It used to be taken for an empty one, and the ticket for "undefined".
  server.answer = () => (server.calls.length === 1 ? [200] : undefined);
  client.connect();
  await clock.pass(1000);
  assert.deepEqual(server.sockets.map(({ url }) => url), ["wss://im.test/teaching/imserver/ticket-2"]);
  server.answer = () => [200];
  await assert.rejects(client.conversations(), { code: "http_200" });
});

test("a token that was asked for before a logout is not for who signs in then", async () => {
  let give = (_: string) => {};
  let getToken: () => string | Promise<string> = () => token(1);
  const { client, server } = await online({ getToken: () => getToken() });
  getToken = () => new Promise((done) => (give = done));
  await server.socket.end(4401, "token_expired");
  await client.logout();
  getToken = () => token(2);
  client.connect();
  await settled();
  assert.equal(client.userId, 2);
  // It used to be waited for, and taken.
  give(token(1, 3600, "late"));
  await settled();
  assert.equal(client.userId, 2);
  assert.equal(server.sockets.length, 2);
});

test("closing stops everything, and connecting starts again", async () => {
  const { client, server, clock, told } = await online();
  const waiting = client.send(2, "still here");
  await settled();
  client.close();
  await assert.rejects(waiting, { code: "closed" });
  assert.equal(server.socket.readyState, 3);
  await clock.pass(3_600_000);
  assert.equal(server.sockets.length, 1);
  assert.deepEqual(told.state.at(-1), { state: "signed-out", reason: "closed" });
});

test("a page that closes while its token source is down is not heard of again", async () => {
  let asked = 0;
  const { client, clock } = seat({
    getToken: () => {
      asked++;
      throw new Error("down");
    },
  });
  client.connect();
  await clock.pass(5000);
  client.close();
  const before = asked;
  await clock.pass(60_000);
  assert.equal(asked, before);
  await client.logout();
});
