// What breaks: the network, the tab, the server. Nothing is lost, and nothing is doubled.

import assert from "node:assert/strict";
import test from "node:test";
import { Tab, newContext, startBrowser } from "./support/browser.mjs";
import { Server } from "./support/server.mjs";
import { startBehindTunnel } from "./support/tunnel.mjs";

test("what is written offline waits, and is sent once when the network is back", async (t) => {
  const { server, tunnel, through } = await startBehindTunnel(t);
  const browser = await startBrowser(t, server);
  const context = await newContext(browser);
  const one = await Tab.open(context, through, await server.token(1, "小明"), 2);
  await one.write("before");
  await one.state("before", "stored");

  const places = async () => {
    const parts = [".line", ".talk .bar", ".message", ".composer"].map((part) => one.page.locator(part).first());
    return Promise.all(parts.map((part) => part.boundingBox()));
  };
  const before = await places();
  await context.setOffline(true);
  tunnel.cut();
  await one.page.getByText("You are offline.").waitFor();
  // What was said of the connection used to push everything down, away from the finger.
  assert.deepEqual(await places(), before);
  await one.write("in between");
  await one.write("and another");
  await one.state("and another", "pending");
  assert.deepEqual(await one.texts(), ["before", "in between", "and another"]);

  // What waits outlives the page: there is no network to load it anew, so it is another tab.
  await one.page.close();
  tunnel.mend();
  await context.setOffline(false);
  const again = await Tab.open(context, through, await server.token(1, "小明"), 2);
  await again.state("in between", "stored");
  await again.state("and another", "stored");
  assert.deepEqual(await again.texts(), ["before", "in between", "and another"]);
  const { messages } = await server.api(await server.token(2), "GET", "conversations/1/messages");
  assert.deepEqual(messages.map((message) => message.content), ["before", "in between", "and another"]);

  // A network that only blinks: what was read stays, what is new comes.
  tunnel.cut();
  await server.api(await server.token(2), "POST", "messages", { toId: 1, content: "missed you" });
  tunnel.mend();
  await again.sees("missed you");
  assert.deepEqual(await again.texts(), ["before", "in between", "and another", "missed you"]);
});

test("what waits when the page is reloaded waits on, and is sent once", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t, server);
  const context = await newContext(browser);
  // The page can be loaded, but gets no connection.
  await context.route("**/teaching/api/tickets", (route) => route.abort());
  const tab = await Tab.open(context, server, await server.token(1, "小明"), 2);
  for (const text of ["one", "two", "three"]) await tab.write(text);
  await tab.state("three", "pending");
  await tab.page.getByText("Connecting …").waitFor();
  await tab.page.reload();
  await tab.state("three", "pending");
  assert.deepEqual(await tab.texts(), ["one", "two", "three"]);
  await context.unroute("**/teaching/api/tickets");
  for (const text of ["one", "two", "three"]) await tab.state(text, "stored");
  assert.deepEqual(await tab.texts(), ["one", "two", "three"]);
  const { messages } = await server.api(await server.token(2), "GET", "conversations/1/messages");
  assert.deepEqual(messages.map((message) => message.content), ["one", "two", "three"]);
  tab.assertClean();
});

test("two tabs share one socket, and one goes on when the other is closed", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t, server);
  const context = await newContext(browser);
  const token = await server.token(1, "小明");
  const leader = await Tab.open(context, server, token, 2);
  await leader.write("from the first");
  await leader.state("from the first", "stored");
  const second = await Tab.open(context, server, token, 2);
  await second.sees("from the first");
  await second.write("from the second");
  await second.state("from the second", "stored");
  await leader.sees("from the second");
  await leader.write("and back");
  await second.sees("and back");
  assert.equal(await server.connections(), 1);

  await leader.page.close();
  await second.write("alone now");
  await second.state("alone now", "stored");
  await server.api(await server.token(2), "POST", "messages", { toId: 1, content: "still there?" });
  await second.sees("still there?");
  assert.equal(await server.connections(), 1);
  assert.deepEqual(await second.texts(), ["from the first", "from the second", "and back", "alone now", "still there?"]);
  second.assertClean();
});

test("two people in one browser see nothing of each other", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t, server);
  const context = await newContext(browser);
  const one = await Tab.open(context, server, await server.token(1, "小明"), 3);
  const two = await Tab.open(context, server, await server.token(2, "小红"), 1);
  await one.write("for 3 alone");
  await one.state("for 3 alone", "stored");
  await two.write("for 1");
  await two.state("for 1", "stored");
  await one.page.locator("[data-peer='2'] .badge").waitFor();
  assert.equal(await server.connections(), 2);
  assert.equal(await two.page.locator("[data-peer='3']").count(), 0);

  // One leaves for good: nothing of them stays in the tab, and the other goes on.
  await one.page.getByRole("button", { name: "Sign out" }).click();
  await one.page.getByText("You are signed out.").waitFor();
  assert.deepEqual(await one.page.evaluate(() => Object.keys(sessionStorage)), []);
  await two.write("still here");
  await two.state("still here", "stored");
});

test("a server killed in the middle of a conversation loses and doubles nothing on any screen", async (t) => {
  const MANY = 120;
  const server = await Server.start(t, { IMSERVER_LIMITS__MESSAGES_PER_SECOND: "0" });
  const browser = await startBrowser(t, server);
  const one = await Tab.open(await newContext(browser), server, await server.token(1, "小明"), 2);
  const two = await Tab.open(await newContext(browser), server, await server.token(2, "小红"), 1);
  const write = (tab, name, from, to) => tab.page.evaluate(([name, from, to]) => {
    const field = document.querySelector(".composer textarea");
    for (let n = from; n < to; n++) {
      field.value = `${name} ${n}`;
      field.dispatchEvent(new Event("input", { bubbles: true }));
      field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
    }
  }, [name, from, to]);
  const writeSlowly = async (tab, name) => {
    for (let n = 0; n < MANY / 2; n += 5) {
      await write(tab, name, n, n + 5);
      await tab.bubble(`${name} ${n + 4}`).first().waitFor();
    }
  };

  const both = Promise.all([writeSlowly(one, "a"), writeSlowly(two, "b")]);
  await two.bubble("a 10").first().waitFor();
  await server.kill();
  await both;
  await server.up();
  await server.kill();
  await server.up();
  // A reload with messages on their way, too.
  await one.page.reload();
  await one.loaded();
  await write(one, "a", MANY / 2, MANY);
  await write(two, "b", MANY / 2, MANY);

  for (const tab of [one, two]) {
    await tab.page.waitForFunction(([many]) => {
      const texts = [...document.querySelectorAll(".message .text")].map((text) => text.textContent);
      return !document.querySelector(".message.pending, .message.failed") &&
        texts.includes(`a ${many - 1}`) && texts.includes(`b ${many - 1}`);
    }, [MANY], { timeout: 60_000 });
  }
  const expected = Array.from({ length: MANY }, (_, n) => n);
  const stored = [];
  for (let before; ;) {
    const page = await server.api(await server.token(1), "GET",
      `conversations/2/messages?limit=100${before ? `&before=${before}` : ""}`);
    stored.unshift(...page.messages.map((message) => message.content));
    if (page.older === null) break;
    before = page.older;
  }
  const numbers = (texts, name) => texts.filter((text) => text.startsWith(name)).map((text) => Number(text.slice(2)));
  assert.deepEqual(numbers(stored, "a"), expected);
  assert.deepEqual(numbers(stored, "b"), expected);

  // On screen, as far as it is in the document: once each, and in order.
  for (const tab of [one, two]) {
    const shown = await tab.texts();
    assert.ok(shown.length >= 100);
    for (const name of ["a", "b"]) {
      const seen = numbers(shown, name);
      assert.deepEqual(seen, expected.slice(-seen.length), `${name} on screen`);
    }
    await tab.page.reload();
    await tab.loaded();
    // With something unread it opens at the first of that.
    const newest = tab.page.getByRole("button", { name: "To the newest message" });
    if (await newest.isVisible()) await newest.click();
    await tab.sees(`a ${MANY - 1}`);
    assert.deepEqual(await tab.texts(), stored.slice(-(await tab.texts()).length));
  }
  one.assertClean();
  two.assertClean();
});
