// The client in Node against the built server: real TLS, a real data directory.

import assert from "node:assert/strict";
import https from "node:https";
import { test, type TestContext } from "node:test";
import WebSocket from "ws";
// @ts-expect-error: shared with the browser's tests, which are plain JavaScript
import { Server } from "../e2e/support/server.mjs";
import { Client } from "../src/client.js";
import type { ClientEvents, ClientOptions, Message } from "../src/types.js";
import { until } from "./support/clock.js";

/** `fetch` that believes the server's own certificate. */
function fetching(ca: Buffer): typeof fetch {
  return (url, init) =>
    new Promise((resolve, reject) => {
      const { method, headers, body } = init ?? {};
      const options = { ca, method, headers: headers as Record<string, string> };
      const request = https.request(String(url), options as https.RequestOptions, (answer) => {
        const parts: Buffer[] = [];
        answer.on("data", (part: Buffer) => parts.push(part));
        answer.on("end", () => {
          const text = Buffer.concat(parts).toString();
          const status = answer.statusCode ?? 0;
          const given = Object.entries(answer.headers).map(([k, v]) => [k, String(v)] as [string, string]);
          resolve(new Response(status === 204 ? null : text, { status, headers: given }));
        });
      });
      request.on("error", reject);
      request.end(body as string | undefined);
    });
}

/** A client of `user`, and everything that it hears. */
async function join(t: TestContext, server: any, user: number, more: Partial<ClientOptions> = {}) {
  const ca: Buffer = server.cert;
  class Trusting extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols, { ca });
    }
  }
  const client = new Client({
    url: server.origin,
    getToken: () => server.token(user),
    WebSocket: Trusting,
    fetch: fetching(ca),
    ...more,
  });
  const heard: { [K in keyof ClientEvents]?: ClientEvents[K][] } = {};
  for (const name of ["message", "read", "typing", "unread", "state", "reload"] as const) {
    client.on(name, (detail) => ((heard[name] ??= []) as unknown[]).push(detail));
  }
  t.after(() => client.close());
  client.connect();
  await until(`${user} to be online`, () => client.state === "online");
  const texts = () => (heard.message ?? []).map((message: Message) => message.content);
  return { client, heard, texts };
}

test("two people chat: stored, delivered, read, counted, and shown by the history", async (t) => {
  const server = await Server.start(t);
  const ming = await join(t, server, 1);
  const hong = await join(t, server, 2, { transport: "subprotocol" });

  const stored = await ming.client.send(2, "你好");
  await until("the message", () => hong.texts().includes("你好"));
  assert.equal(hong.heard.message?.[0]?.messageId, stored.messageId);
  await until("the count", () => hong.client.unreadOf(1) === 1 && hong.client.unread === 1);

  ming.client.typing(2);
  await until("typing", () => hong.heard.typing?.[0]?.fromId === 1);

  await hong.client.markRead([stored.messageId]);
  await until("the receipt", () => ming.heard.read?.[0]?.messageIds.includes(stored.messageId));
  assert.equal(ming.heard.read?.[0]?.readerId, 2);
  await until("nothing unread", () => hong.client.unread === 0);

  const page = await ming.client.history(2);
  assert.deepEqual(page.messages.map(({ content, read }) => ({ content, read })), [{ content: "你好", read: true }]);
  assert.deepEqual(await ming.client.history(99), { messages: [], older: null, newer: null });
  const { conversations } = await hong.client.conversations();
  assert.equal(conversations[0]?.lastMessage.content, "你好");
  await assert.rejects(ming.client.send(2, ""), { code: "empty_content" });
  await assert.rejects(ming.client.history(2, { before: "forged" }), { code: "bad_cursor" });
});

test("a server killed in the middle loses and doubles nothing, and the order stays", async (t) => {
  const server = await Server.start(t, { IMSERVER_LIMITS__MESSAGES_PER_SECOND: "0" });
  const ming = await join(t, server, 1);
  const hong = await join(t, server, 2);
  const all = Array.from({ length: 90 }, (_, number) => `message ${number}`);
  const sending = all.map((text) => ming.client.send(2, text));
  for (const stop of [10, 40]) {
    await sending[stop];
    await server.kill();
    await server.up();
  }
  await Promise.all(sending);
  await until("all of them", () => hong.texts().length >= all.length, 40_000);
  assert.deepEqual(hong.texts(), all);
  const page = await hong.client.history(1, { limit: 100 });
  assert.deepEqual(page.messages.map(({ content }) => content), all);
});

test("all devices of a user show what one of them sent, once", async (t) => {
  const server = await Server.start(t);
  const phone = await join(t, server, 1);
  const laptop = await join(t, server, 1);
  const { clientMsgId } = await phone.client.send(2, "from the phone");
  await until("the other device", () => laptop.texts().includes("from the phone"));
  assert.equal(laptop.heard.message?.[0]?.clientMsgId, clientMsgId);
  await phone.client.send(1, "a note");
  await until("the note", () => laptop.texts().includes("a note"));
  assert.deepEqual(phone.texts(), [], "it wrote these itself");
});

test("a token is refreshed before it ends, and none left is the end", async (t) => {
  const server = await Server.start(t, { IMSERVER_AUTH__LEEWAY: "0s" });
  let asked = 0;
  const ming = await join(t, server, 1, {
    // Long enough for a busy machine to fetch the next one in the last fifth of it.
    getToken: () => (++asked > 2 ? null : server.token(1, "小明", "6s")),
  });
  await until("another token", () => asked >= 2);
  assert.equal(ming.client.state, "online");
  await until("the end", () => ming.client.state === "signed-out");
  const states = (ming.heard.state ?? []).map(({ state, reason }) => `${state} ${reason}`.trim());
  assert.equal(states.at(-1), "signed-out no_token");
});
