// Two people write to each other.

import assert from "node:assert/strict";
import test from "node:test";
import { Tab, newContext, startBrowser, steps } from "./support/browser.mjs";
import { Server } from "./support/server.mjs";

test("two people chat, and see what became of their messages", async (t) => {
  const step = steps(t);
  const server = await Server.start(t);
  const browser = await startBrowser(t, server);
  const one = await Tab.open(await newContext(browser), server, await server.token(1, "小明"), 2);
  const two = await Tab.open(await newContext(browser), server, await server.token(2, "小红"));

  await step("a message is stored, comes into the other's list, and is read when it is seen", async () => {
    await one.write("你好");
    await one.state("你好", "stored");
    const line = two.page.locator('[data-peer="1"]');
    await line.getByText("1 unread message").waitFor({ state: "attached" });
    await two.until(() => document.title === "(1) imserver");
    assert.match(await line.innerText(), /小明/);
    assert.equal(await one.page.locator(".message.read").count(), 0, "read before it was opened");
    await two.openLine(1);
    await one.state("你好", "read");
    await two.until(() => document.title === "imserver");
  });

  await step("a message that is shown does not vanish for a frame, whatever becomes of it", async () => {
    const watched = one.page.evaluate(async () => {
      const shown = () => [...document.querySelectorAll(".message")].find((one) => one.textContent.includes("keep me"));
      const counts = [];
      let first = null;
      const end = performance.now() + 45_000;
      while (!shown()?.matches(".read") && performance.now() < end) {
        await new Promise((done) => requestAnimationFrame(done));
        first ??= shown() ?? null;
        if (first) counts.push(document.querySelectorAll(".message").length, first === shown());
      }
      return [...new Set(counts)];
    });
    await one.write("keep me");
    assert.deepEqual(await watched, [2, true]);
  });

  await step("the answer comes the same way", async () => {
    await two.write("Hello 小明");
    await one.sees("Hello 小明");
    await two.state("Hello 小明", "read");
  });

  await step("one sees the other typing, until the message is there", async () => {
    // It is told once in 3 s: go on for longer.
    const writing = two.field.pressSequentially("I am writing a long sentence, slowly", { delay: 120 });
    await one.page.locator(".talk .typing").waitFor();
    await writing;
    await two.field.press("Enter");
    await one.sees("I am writing a long sentence, slowly");
    await one.page.locator(".talk .typing").waitFor({ state: "detached" });
  });

  await step("what comes while nobody looks stays unread until somebody does", async () => {
    await two.hide();
    await one.write("are you there?");
    await two.sees("are you there?");
    await two.until(() => document.title === "(1) imserver");
    await one.state("are you there?", "stored");
    await two.lookAgain();
    await one.state("are you there?", "read");
    assert.equal(await two.page.getByText("New messages", { exact: true }).count(), 1, "the divider");
  });

  await step("a reload shows the same conversation, and the draft", async () => {
    await one.field.fill("half a thou");
    const before = await one.texts();
    await one.page.reload();
    await one.loaded();
    await one.sees("are you there?");
    assert.deepEqual(await one.texts(), before);
    assert.equal(await one.field.inputValue(), "half a thou");
    assert.ok(!one.page.url().includes("token"), "the token stands in the address");
  });

  await step("notes to oneself are read once they are seen", async () => {
    await one.talkTo(1);
    await one.write("buy milk");
    await one.state("buy milk", "read");
    await one.page.getByRole("heading", { name: "Notes to yourself" }).waitFor();
  });

  await step("a message that is refused says why, and can be tried again or discarded", async () => {
    await one.talkTo(2);
    const long = "字".repeat(6000);
    await one.write(long);
    const failed = one.page.locator(".message.failed");
    await failed.getByText("Not sent: it is too long").waitFor();
    await failed.getByRole("button", { name: "Try again" }).click();
    await failed.getByText("Not sent: it is too long").waitFor();
    await one.page.reload();
    await failed.getByRole("button", { name: "Discard" }).click();
    await failed.waitFor({ state: "detached" });
    assert.ok(!(await one.texts()).some((text) => text.startsWith("字")));
  });

  await step("a message that is too long can be made shorter", async () => {
    const long = "字".repeat(6000);
    await one.write(long);
    await one.field.fill("the next one");
    await one.page.locator(".message.failed").getByRole("button", { name: "Edit" }).click();
    await one.page.locator(".message.failed").waitFor({ state: "detached" });
    assert.equal(await one.field.inputValue(), `${long}\nthe next one`);
    await one.field.fill("short");
    await one.field.press("Enter");
    await one.state("short", "stored");
  });

  await step("a text that no message can hold is refused as it is pasted", async () => {
    await one.page.context().grantPermissions(["clipboard-read", "clipboard-write"], { origin: server.origin });
    const paste = async (length) => {
      await one.page.evaluate((text) => navigator.clipboard.writeText(text), "word ".repeat(length / 5));
      await one.field.press("ControlOrMeta+v");
    };
    const tooLong = one.page.getByRole("alert").getByText("longer than any message can be");
    await one.field.fill("before ");
    // The page used to stand still over it.
    await paste(1_000_000);
    await tooLong.waitFor();
    assert.equal(await one.field.inputValue(), "before ");
    await one.field.press("x");
    await tooLong.waitFor({ state: "detached" });
    await paste(20_000);
    assert.equal((await one.field.inputValue()).length, 20_008);
    await one.field.fill("");
  });

  await step("Enter that ends the choice of a Chinese character sends nothing", async () => {
    await one.field.fill("你");
    await one.field.dispatchEvent("keydown", { key: "Enter", isComposing: true });
    // Safari says by the key's number alone that the choice has just ended.
    await one.field.evaluate((field) => field.dispatchEvent(
      new KeyboardEvent("keydown", { key: "Enter", keyCode: 229, bubbles: true, cancelable: true }),
    ));
    assert.equal(await one.field.inputValue(), "你");
    await one.field.press("Enter");
    await one.sees("你");
    assert.equal((await one.texts()).filter((text) => text === "你").length, 1);
  });

  await step("a notification is shown when allowed and nobody looks, and leads to the conversation", async () => {
    await two.page.context().grantPermissions(["notifications"], { origin: server.origin });
    await two.notes();
    await one.write("while you look");
    await two.sees("while you look");
    await two.page.keyboard.press("Escape");
    await two.hide();
    await one.write("<b>wake up</b>");
    await two.until(() => window.shown.length === 1);
    assert.deepEqual(await two.page.evaluate(() => [window.shown[0].title, window.shown[0].body]), ["小明", "<b>wake up</b>"]);
    await two.lookAgain();
    await two.page.evaluate(() => window.shown[0].dispatchEvent(new Event("click")));
    await two.sees("<b>wake up</b>");
  });

  await step("a tab that nobody looks at is quiet while one looks at another", async () => {
    const other = await Tab.open(two.page.context(), server, await server.token(2, "小红"), 1);
    await other.notes();
    await other.hide();
    await one.write("seen in the first tab");
    await one.state("seen in the first tab", "read");
    await other.sees("seen in the first tab");
    // It used to tell of that one too, and what is told stands before what comes later.
    await two.hide();
    await one.write("seen in none");
    await other.until(() => window.shown.length > 0);
    assert.deepEqual(await other.page.evaluate(() => window.shown.map(({ body }) => body)), ["seen in none"]);
    // A tab that is gone looks at nothing.
    await two.lookAgain();
    await two.page.close();
    await one.write("the first tab is closed");
    await other.until(() => window.shown.length > 1);
    // What is read elsewhere is no news here: its notification used to stay.
    const { messages } = await server.api(await server.token(2), "GET", "conversations/1/messages");
    assert.equal(await other.page.evaluate(() => window.shown[1].isClosed), undefined);
    await server.api(await server.token(2), "POST", "read", { peerId: 1, upTo: messages.findLast(({ toId }) => toId === 2).messageId });
    await other.until(() => window.shown[1].isClosed);
    other.assertClean();
  });

  one.assertClean();
  two.assertClean();
});
