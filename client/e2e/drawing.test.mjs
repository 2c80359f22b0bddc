// The page is drawn anew with all that happens: nothing moves or is lost under who uses it.

import assert from "node:assert/strict";
import test from "node:test";
import { Tab, newContext, startBrowser, steps } from "./support/browser.mjs";
import { Server } from "./support/server.mjs";

/** Writes from one user to another behind the page's back. */
async function sender(server, from, name) {
  const token = await server.token(from, name);
  return (toId, content) => server.api(token, "POST", "messages", { toId, content });
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
