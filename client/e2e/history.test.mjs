// A conversation of 100,000 messages is as quick as a short one.

import assert from "node:assert/strict";
import test from "node:test";
import WebSocket from "ws";
import { Tab, newContext, startBrowser } from "./support/browser.mjs";
import { Server } from "./support/server.mjs";

const MESSAGES = 100_000;
/** As many as the server lets one connection have unanswered, times some. */
const SENDERS = 8;

/** Fills the conversation of 1 and 2, as fast as the server stores: many sockets, each pipelined. */
async function fill(server, count) {
  const token = await server.token(1, "小明");
  let next = 0;
  const send = async () => {
    const socket = new WebSocket(`wss://127.0.0.1:${server.port}/teaching/imserver`, {
      ca: server.cert, headers: { authorization: `Bearer ${token}` },
    });
    await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
    await new Promise((resolve, reject) => {
      let open = 0;
      const more = () => {
        for (; open < 64 && next < count; open++, next++) {
          // Of every height, so that nothing can be guessed.
          const content = `message ${next}${"\nand a line".repeat(next % 7 === 0 ? next % 11 : 0)}`;
          socket.send(JSON.stringify({ fromId: 1, toId: 2, type: 0, content, timestamp: `${next}`, Describe: "" }));
        }
        if (open === 0) resolve();
      };
      socket.on("message", (data) => {
        const frame = JSON.parse(data);
        if (frame.type !== 0) return reject(new Error(frame.Describe));
        open--;
        more();
      });
      more();
    });
    socket.close();
  };
  await Promise.all(Array.from({ length: SENDERS }, send));
}

/** Scrolls the log, a step a frame, and reports what a reader would notice. */
function scroll({ step, steps }) {
  const log = document.querySelector(".log");
  const top = (message) => message.getBoundingClientRect().top - log.getBoundingClientRect().top;
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const inSight = () => [...log.querySelectorAll(".message")].find((message) => top(message) >= 0);
  return (async () => {
    const frames = [];
    let jumps = 0, most = 0, moved = 0;
    for (let n = 0; n < steps; n++) {
      const message = inSight();
      const before = message && top(message);
      const from = log.scrollTop;
      log.scrollTop += step;
      const by = log.scrollTop - from;
      moved += Math.abs(by);
      const started = performance.now();
      await frame();
      await frame();
      frames.push((performance.now() - started) / 2);
      if (message?.isConnected && Math.abs(top(message) - (before - by)) > 2) jumps++;
      most = Math.max(most, log.querySelectorAll("*").length);
      // At an end that is not the last one, wait for the server like a reader would.
      for (let waited = 0; by === 0 && log.ariaBusy === "true" && waited < 200; waited++) await frame();
    }
    frames.sort((a, b) => a - b);
    return { jumps, most, moved, median: frames[frames.length >> 1], p95: frames[Math.floor(frames.length * 0.95)] };
  })();
}

/** The newest messages as the server has them, oldest first. */
async function newest(server, token, count) {
  const contents = [];
  for (let before = ""; contents.length < count; ) {
    const page = await server.api(token, "GET", `conversations/2/messages?limit=100${before}`);
    contents.unshift(...page.messages.map((message) => message.content));
    before = `&before=${page.older}`;
  }
  return contents;
}

test("a conversation of 100,000 messages is as quick as a short one", async (t) => {
  const server = await Server.start(t, {
    IMSERVER_LIMITS__MESSAGES_PER_SECOND: "0",
    IMSERVER_LIMITS__UNREAD_PER_USER: "1000000",
  });
  let started = performance.now();
  await fill(server, MESSAGES);
  t.diagnostic(`filled in ${Math.round(performance.now() - started)} ms`);
  const browser = await startBrowser(t, server);
  const context = await newContext(browser);
  const tokens = [await server.token(1, "小明"), await server.token(2, "小红")];

  await t.test("it opens at once", async (t) => {
    const tab = await Tab.open(context, server, tokens[0]);
    await tab.page.locator('[data-peer="2"]').waitFor();
    // Which one came last is for the server to say: eight sockets filled it.
    const last = (await newest(server, tokens[0], 1)).at(-1);
    started = performance.now();
    await tab.openLine(2);
    await tab.page.locator(".message").last().getByText(last.split("\n")[0]).waitFor();
    const took = performance.now() - started;
    t.diagnostic(`opened in ${Math.round(took)} ms`);
    assert.ok(took < 3000, `opened in ${took} ms`);
    await tab.write("typed at once");
    await tab.state("typed at once", "stored");
    await tab.page.close();
  });

  await t.test("one scrolls up and down through thousands, and nothing jumps, piles up or stutters", async (t) => {
    const tab = await Tab.open(context, server, tokens[0]);
    await tab.openLine(2);
    await tab.sees("typed at once");
    const stored = await newest(server, tokens[0], 8000);
    const up = await tab.page.evaluate(scroll, { step: -900, steps: 250 });
    t.diagnostic(`up ${JSON.stringify(up)}`);
    const reached = await tab.texts();
    const at = stored.indexOf(reached[0]);
    assert.ok(at > 0 && at < stored.length - 2500, `came to ${at - stored.length}`);
    assert.deepEqual(reached, stored.slice(at, at + reached.length));
    const down = await tab.page.evaluate(scroll, { step: 900, steps: 60 });
    t.diagnostic(`down ${JSON.stringify(down)}`);
    const back = await tab.texts();
    const then = stored.indexOf(back[0]);
    assert.ok(then > at + 500, `came back to ${then - stored.length}`);
    assert.deepEqual(back, stored.slice(then, then + back.length));
    for (const { jumps, most, p95 } of [up, down]) {
      assert.equal(jumps, 0, "what one reads has jumped");
      assert.ok(most < 3500, `${most} elements`);
      assert.ok(p95 < 100, `a frame in twenty took over ${p95} ms`);
    }
    // What comes meanwhile is counted, and one click away.
    await server.api(tokens[1], "POST", "messages", { toId: 1, content: "come back" });
    await tab.page.getByRole("button", { name: "1 unread message · Mark as read" }).waitFor();
    await tab.page.getByRole("button", { name: "To the newest message" }).click();
    await tab.sees("come back");
    await tab.until(() => document.title === "imserver");
    tab.assertClean();
    await tab.page.close();
  });

  await t.test("100,000 unread messages open at the newest, and are marked with one click", async () => {
    const tab = await Tab.open(context, server, tokens[1]);
    await tab.page.locator('[data-peer="1"]').getByText("999+").waitFor();
    await tab.openLine(1);
    await tab.page.locator(".float.top .chip").click();
    // A first connection replays all of them, which takes its time.
    await tab.page.locator(".float.top .chip").waitFor({ state: "detached", timeout: 60_000 });
    await tab.page.waitForFunction(() => document.title === "imserver", null, { timeout: 60_000 });
    tab.assertClean();
  });
});
