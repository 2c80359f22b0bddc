// Everybody can use the page: axe finds nothing, at any width, in any light and language.
// What it looked at is kept as pictures in .shots/, for people to look at too.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import test from "node:test";
import { Tab, newContext, shots, startBrowser, violations } from "./support/browser.mjs";
import { Server } from "./support/server.mjs";

const WIDTHS = {
  desktop: { viewport: { width: 1280, height: 800 } },
  phone: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 },
};

async function fill(server, one, two, three) {
  const say = (token, toId, content) => server.api(token, "POST", "messages", { toId, content });
  await say(one, 2, "早上好！今天的作业收到了吗？");
  await say(two, 1, "收到了，谢谢老师。");
  await say(two, 1, "I have a question about the second exercise: does it have to be one function, or may I split it?");
  await say(one, 2, "Split it wherever you would want to explain it.\nA good name is worth more than a comment.");
  await say(one, 2, "And take your time 🙂");
  await say(two, 1, "好的 👍🏽");
  await say(one, 1, "Ask 小刚 about Friday");
  const { messages } = await server.api(two, "GET", "conversations/1/messages");
  const upTo = messages.findLast((message) => message.content.startsWith("Split")).messageId;
  await server.api(two, "POST", "read", { peerId: 1, upTo });
  await say(three, 1, "Are we still meeting on Friday?");
  await say(three, 1, "I could also do Thursday.");
}

test("axe finds nothing wrong, and the page looks as it should", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t, server);
  const token = await server.token(1, "小明");
  await fill(server, token, await server.token(2, "小红"), await server.token(3, "Ada"));
  await mkdir(shots, { recursive: true });

  for (const [width, options] of Object.entries(WIDTHS)) {
    for (const colorScheme of ["light", "dark"]) {
      for (const locale of colorScheme === "light" ? ["en-GB", "zh-CN"] : ["en-GB"]) {
        const name = `${width}-${colorScheme}-${locale.slice(0, 2)}`;
        await t.test(name, async () => {
          const context = await newContext(browser, { ...options, colorScheme, locale });
          const tab = new Tab();
          tab.page = await context.newPage();
          const look = async (what) => {
            await tab.page.screenshot({ path: `${shots}${what}-${name}.png` });
            assert.deepEqual(await violations(tab.page), [], what);
          };

          await tab.page.goto(server.origin);
          await tab.page.locator("#token").fill("no token");
          await tab.page.locator("button.primary").click();
          await tab.page.getByRole("alert").waitFor();
          await look("sign-in");

          await tab.page.locator("#token").fill(token);
          await tab.page.locator("button.primary").click();
          await tab.page.locator("[data-peer='3'] .badge").waitFor();
          await look("list");
          assert.equal(await tab.page.locator("html").getAttribute("lang"), locale === "zh-CN" ? "zh-CN" : "en");

          await tab.openLine(2);
          await tab.sees("好的 👍🏽");
          await look("conversation");
          const small = await tab.page.locator("button:visible, textarea:visible").evaluateAll((all) =>
            all.filter((one) => !one.matches(".link") && one.offsetHeight < 44).map((one) => one.outerHTML));
          assert.deepEqual(small, [], "smaller than a finger");
          const { scrollWidth, clientWidth } = await tab.page.evaluate(() => document.documentElement);
          assert.ok(!(scrollWidth > clientWidth), "wider than the window");
          await context.close();
        });
      }
    }
  }
});

test("the page can be used with the keyboard alone", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t, server);
  const token = await server.token(1, "小明");
  await fill(server, token, await server.token(2, "小红"), await server.token(3, "Ada"));
  const tab = new Tab();
  tab.page = await (await newContext(browser)).newPage();
  const key = (name) => tab.page.keyboard.press(name);
  const focused = () => tab.page.evaluate(() => {
    const { activeElement: at } = document;
    return at.getAttribute("aria-label") ?? at.dataset.peer ?? at.id;
  });
  const isFocused = (selector) => tab.until((wanted) => document.activeElement?.matches(wanted), selector);

  await tab.page.goto(server.origin);
  await key("Tab");
  assert.equal(await focused(), "token");
  await tab.page.keyboard.insertText(token);
  await key("Enter");
  await tab.page.locator("[data-peer='3'] .badge").waitFor();

  await tab.page.evaluate(() => document.activeElement.blur());
  await key("Tab");
  assert.equal(await tab.page.evaluate(() => document.activeElement.textContent), "Skip to the conversation");
  const met = [];
  for (let n = 0; n < 4; n++) {
    await key("Tab");
    met.push(await focused());
  }
  // The list is one stop, at its first line.
  assert.deepEqual(met, ["Notify me of new messages", "Sign out", "New conversation", "3"]);
  await key("End");
  assert.equal(await focused(), "2");
  await key("Home");
  assert.equal(await focused(), "3");
  await key("ArrowDown");
  assert.equal(await focused(), "1");
  await key("ArrowDown");
  await key("Enter");
  await tab.page.getByRole("heading", { name: "小红" }).waitFor();
  await isFocused(".composer textarea");

  await tab.page.keyboard.type("first line");
  await key("Shift+Enter");
  await tab.page.keyboard.type("second line");
  await key("Enter");
  await tab.state("first line\nsecond line", "stored");

  await key("Escape");
  await tab.log.waitFor({ state: "detached" });
  await isFocused("[data-peer='2']");
  assert.equal(new URL(tab.page.url()).hash, "");
});

test("on a phone the focus goes into a conversation and back to its line", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t, server);
  const token = await server.token(1, "小明");
  await fill(server, token, await server.token(2, "小红"), await server.token(3, "Ada"));
  const tab = await Tab.open(await newContext(browser, WIDTHS.phone), server, token);
  const isFocused = (selector) => tab.until((wanted) => document.activeElement?.matches(wanted), selector);
  // It used to be lost with the pane that it was in: whoever listens began at the top again.
  await tab.openLine(2);
  await isFocused("#talk");
  await tab.page.goBack();
  await isFocused("[data-peer='2']");
  await tab.page.goForward();
  await isFocused("#talk");
  await tab.page.getByRole("button", { name: "Back to the conversations" }).click();
  await isFocused("[data-peer='2']");
  tab.assertClean();
});
