// The page is drawn anew with all that happens: nothing moves or is lost under who uses it.

import assert from "node:assert/strict";
import test from "node:test";
import { Tab, newContext, newPage, startBrowser, steps } from "./support/browser.mjs";
import { Server } from "./support/server.mjs";
import { startBehindTunnel } from "./support/tunnel.mjs";

/** Writes from one user to another behind the page's back. */
async function sender(server, from, name) {
  const token = await server.token(from, name);
  return (toId, content) => server.api(token, "POST", "messages", { toId, content });
}

async function look(tab, away) {
  await tab.page.evaluate((away) => {
    if (away) Object.defineProperty(document, "hidden", { value: true, configurable: true });
    else delete document.hidden;
    document.dispatchEvent(new Event("visibilitychange"));
  }, away);
}

/** Waits until the page is drawn as it stands. */
const drawn = (tab) => tab.page.evaluate(async () => {
  for (let n = 0; n < 3; n++) await new Promise((done) => requestAnimationFrame(done));
});

const toEnd = (tab) => tab.log.evaluate((log) => Math.round(log.scrollHeight - log.clientHeight - log.scrollTop));

test("what comes in disturbs nobody who writes", async (t) => {
  const step = steps(t);
  const server = await Server.start(t);
  const browser = await startBrowser(t, server);
  const write = await sender(server, 2, "小红");
  const tab = await Tab.open(await newContext(browser), server, await server.token(1, "小明"), 2);
  for (let n = 0; n < 20; n++) await write(1, `message ${n}`);
  await tab.sees("message 19");

  await step("a form that is open takes the focus once", async () => {
    // It took it again with each message, and what was meant for the message went into its field.
    await tab.page.getByRole("button", { name: "New conversation" }).click();
    await tab.page.getByLabel("User number").fill("77");
    await tab.field.click();
    await tab.field.pressSequentially("half a ");
    await write(1, "hello?");
    await tab.sees("hello?");
    await drawn(tab);
    await tab.page.keyboard.type("word");
    assert.equal(await tab.field.inputValue(), "half a word");
    assert.equal(await tab.page.getByLabel("User number").inputValue(), "77");
    await tab.page.getByRole("button", { name: "Cancel" }).click();
    const start = tab.page.getByRole("button", { name: "New conversation" });
    assert.ok(await start.evaluate((button) => button === document.activeElement), "the focus is lost");
  });

  await step("a draft of many lines does not push the newest message out of sight", async () => {
    // Each key used to move it up by a line, until the page took it for scrolling.
    await tab.field.fill("");
    await tab.field.focus();
    for (const line of ["one", "two", "three", "four", "five"]) {
      await tab.page.keyboard.type(line);
      await tab.page.keyboard.press("Shift+Enter");
      await drawn(tab);
      assert.equal(await toEnd(tab), 0, `after "${line}"`);
    }
    await tab.field.fill("");
    await drawn(tab);
    assert.equal(await toEnd(tab), 0);
  });

  await step("a button that goes when it is pressed leaves the focus on the page", async () => {
    await tab.log.evaluate((log) => (log.scrollTop = 0));
    await tab.page.getByRole("button", { name: "To the newest message" }).press("Enter");
    await drawn(tab);
    assert.equal(await toEnd(tab), 0);
    assert.ok(await tab.log.evaluate((log) => log === document.activeElement), "the focus is lost");
    await tab.page.keyboard.press("Escape");
    await tab.log.waitFor({ state: "detached" });
  });

  tab.assertClean();
});

test("what came while nobody looked begins in sight", async (t) => {
  const step = steps(t);
  const { server, tunnel, through } = await startBehindTunnel(t, { IMSERVER_LIMITS__MESSAGES_PER_SECOND: "0" });
  const browser = await startBrowser(t, server);
  const write = await sender(server, 2, "小红");
  const tab = await Tab.open(await newContext(browser), through, await server.token(1, "小明"), 2);

  // The view stayed at the newest: the title counted those above it, and nothing said where they were.
  const begins = async (text) => {
    const top = tab.bubble(text).locator(".text");
    await tab.until((text) => {
      const log = document.querySelector(".log").getBoundingClientRect();
      const first = [...document.querySelectorAll(".message")].find((one) => one.querySelector(".text").textContent === text);
      const at = first?.getBoundingClientRect();
      return at && at.top > log.top && at.bottom < log.bottom &&
        first.previousElementSibling.textContent === "New messages";
    }, text);
    assert.equal(await top.count(), 1);
    await tab.page.locator(".chip").getByText("unread messages").waitFor();
    await tab.page.locator('[data-peer="2"] .badge').waitFor();
    // Who goes to the newest leaves some unread above, which the title alone said.
    await tab.page.getByRole("button", { name: "To the newest message" }).click();
    await tab.page.locator(".chip").getByText("unread messages above").click();
    await tab.until(() => !document.querySelector(".chip, .float, .badge") && document.title === "imserver");
  };
  const many = async (name) => {
    for (let n = 0; n < 40; n++) await write(1, `${name} ${n}.`);
  };

  await step("in a tab in the background", async () => {
    await look(tab, true);
    await many("hidden");
    await tab.page.locator(".line").getByText("hidden 39.").waitFor();
    await look(tab, false);
    await begins("hidden 0.");
  });

  await step("during a break of the connection", async () => {
    tunnel.cut();
    await many("missed");
    tunnel.mend();
    await begins("missed 0.");
  });

  await step("before the page was there", async () => {
    // It opened before the list had said how many are unread.
    const { href } = new URL(tab.page.url());
    await tab.page.goto("about:blank");
    await many("early");
    await tab.page.goto(href);
    await begins("early 0.");
  });

  tab.assertClean();
});

test("the list is right, whenever its pages come", async (t) => {
  const step = steps(t);
  const server = await Server.start(t, { IMSERVER_LIMITS__MESSAGES_PER_SECOND: "0" });
  const browser = await startBrowser(t, server);
  const token = await server.token(1, "小明");
  const long = "محمد عبد الله بن عبد العزيز بن محمد الطويل الاسم جدا";
  for (let n = 120; n > 0; n--) await server.api(token, "POST", "messages", { toId: 1000 + n, content: `to ${n}` });
  await (await sender(server, 2, long))(1, "مرحبا");
  const context = await newContext(browser);
  const tab = await Tab.open(context, server, token);
  const more = tab.page.getByRole("button", { name: "Load more" });
  const peers = () => tab.page.locator(".line").evaluateAll((lines) => lines.map((line) => Number(line.dataset.peer)));
  const right = [2, ...Array.from({ length: 120 }, (_, n) => 1001 + n)];

  await step("who asks for more keeps the focus", async () => {
    await more.press("Enter");
    await tab.until(() => document.querySelectorAll(".line").length === 100);
    await drawn(tab);
    assert.ok(await more.evaluate((button) => button === document.activeElement), "the focus is lost");
    await more.press("Enter");
    await tab.until(() => document.querySelectorAll(".line").length === 121);
    assert.deepEqual(await peers(), right);
  });

  await step("a list that is all there has no more after another connection, and what came since stays", async () => {
    let release;
    const held = new Promise((done) => (release = done));
    let asked;
    const first = new Promise((done) => (asked = done));
    await context.route("**/teaching/api/conversations?limit=50", async (route) => {
      const answer = await server.api(token, "GET", "conversations?limit=50");
      asked();
      await held;
      await route.fulfill({ json: answer });
    });
    await server.kill();
    await server.up();
    await first;
    const third = await sender(server, 3, "Third");
    await third(1, "newer than the list");
    const line = tab.page.locator('[data-peer="3"]');
    await line.getByText("newer than the list").waitFor();
    await (await sender(server, 2, long))(1, "ثانية");
    await tab.page.locator('[data-peer="2"]').getByText("ثانية").waitFor();
    release();
    await context.unrouteAll({ behavior: "wait" });
    await drawn(tab);
    // The older answer used to take its place, and the older order too.
    assert.match(await tab.page.locator('[data-peer="2"]').textContent(), /ثانية/);
    assert.deepEqual(await peers(), [2, 3, ...right.slice(1)]);
    assert.equal(await more.count(), 0);
  });

  await step("a long name loses its end, in whichever direction it is written", async () => {
    const cut = await tab.page.locator('[data-peer="2"] .name').evaluate((name) => {
      const range = document.createRange();
      const text = document.createTreeWalker(name, NodeFilter.SHOW_TEXT).nextNode();
      range.setStart(text, 0);
      range.setEnd(text, 1);
      const [first, box] = [range.getBoundingClientRect(), name.getBoundingClientRect()];
      return name.scrollWidth <= name.clientWidth || first.left < box.left - 1 || first.right > box.right + 1;
    });
    assert.equal(cut, false, "its beginning is out of sight");
  });

  tab.assertClean();
});

test("times and days are those of now", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t, server);
  const tab = new Tab();
  Object.assign(tab, await newPage(await newContext(browser, { timezoneId: "Asia/Shanghai" })));
  // Two minutes to midnight in Shanghai.
  await tab.page.clock.install({ time: `${new Date().toISOString().slice(0, 10)}T15:58:00Z` });
  await tab.page.goto(`${server.origin}/#token=${await server.token(1, "小明", "100h")}&to=2`);
  await tab.loaded();

  // A mark of time that says nothing: the time that was shown went on with each drawing.
  const socket = await server.socket(await server.token(2, "小红"));
  const write = (content) => socket.send(JSON.stringify({
    fromId: 2, toId: 1, type: 0, content, timestamp: "noon", Describe: "",
  }));
  write("odd");
  await tab.sees("odd");
  const time = () => tab.page.locator(".message time").first().getAttribute("datetime");
  const before = await time();
  await tab.page.clock.runFor(30_000);
  write("even");
  await tab.sees("even");
  assert.equal(await time(), before);

  // Nothing happens at midnight: "today" stayed until something did.
  assert.deepEqual(await tab.page.locator(".day").allTextContents(), ["Today"]);
  await tab.page.clock.runFor(95_000);
  await tab.page.locator(".day").getByText("Yesterday").waitFor();
  socket.end();
  assert.deepEqual(tab.faults, []);
});
