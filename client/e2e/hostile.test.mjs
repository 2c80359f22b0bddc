// What people write is text, whatever it looks like.

import assert from "node:assert/strict";
import test from "node:test";
import { Tab, newContext, shots, startBrowser } from "./support/browser.mjs";
import { Server } from "./support/server.mjs";

const HOSTILE = [
  "<img src=x onerror=alert(1)>",
  "<script>alert(1)</script>",
  "</script><svg onload=alert(1)>",
  "\"><iframe srcdoc='<script>parent.alert(1)</script>'>",
  "javascript:alert(1)",
  "[click](javascript:alert(1)) &lt;b&gt;",
  "{{constructor.constructor('alert(1)')()}} ${alert(1)}",
  "\u202egnp.exe\u202d \u2067override\u2066",
  "👩‍👩‍👧‍👦🏳️‍🌈👍🏽",
  "\u0301\u0301lone accents",
  "Z" + "\u0335\u0353\u0321\u0354\u0347\u0349".repeat(40) + "algo",
  "nul \u0000 bell \u0007 escape \u001b[31m",
  "-".repeat(500),
  "constructor", "__proto__",
];
const LONGEST = "W".repeat(16_384);

test("hostile text is shown as text, and nothing of it runs", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t, server);
  const me = await server.token(1, "<b>Eve</b>\u202e");
  const context = await newContext(browser, { viewport: { width: 390, height: 844 } });
  for (const content of [...HOSTILE, LONGEST]) {
    await server.api(me, "POST", "messages", { toId: 2, content });
  }
  const tab = await Tab.open(context, server, await server.token(2, "小红"));
  await tab.page.evaluate(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
  });
  const before = await tab.page.evaluate(() => document.querySelectorAll("script, img, iframe, a").length);
  await tab.openLine(1);
  await tab.until((count) => document.querySelectorAll(".message").length === count, HOSTILE.length + 1);

  assert.deepEqual((await tab.texts()).slice(0, -1), HOSTILE);
  assert.equal(await tab.page.locator(".talk h2").textContent(), "<b>Eve</b>\u202e");
  assert.equal(await tab.page.evaluate(() => document.querySelectorAll("script, img, iframe, a").length), before);
  assert.equal(await tab.page.locator(".text *").count(), 0, "an element inside of a text");

  // The longest is shown in part, and as a whole when asked.
  const last = tab.page.locator(".message").last();
  assert.ok((await last.locator(".text").textContent()).length < 2000);
  const [all, less] = ["Show all", "Show less"].map((name) => last.getByRole("button", { name }));
  const topOf = async (what) => Math.round((await what.boundingBox()).y);
  await all.scrollIntoViewIfNeeded();
  // At the newest message the view used to follow the end, away from what one reads.
  const top = await topOf(last.locator(".text"));
  await all.click();
  await less.waitFor();
  assert.equal(await last.locator(".text").textContent(), LONGEST);
  assert.ok(Math.abs(await topOf(last.locator(".text")) - top) <= 40, "one reads on where one was");

  // Nothing is wider than the phone, and no text leaves its bubble.
  const wide = await tab.page.evaluate(() => {
    const log = document.querySelector(".log");
    return [log, ...log.querySelectorAll(".bubble")].filter((one) => one.scrollWidth > one.clientWidth + 1).length;
  });
  assert.equal(wide, 0);
  await less.click();
  await all.waitFor();
  assert.ok((await all.boundingBox()).y < 844, "what was closed is in sight");
  await tab.page.screenshot({ path: `${shots}hostile.png` });

  // The same on its way out: typed, sent, and in the list.
  for (const content of HOSTILE.slice(0, 8)) {
    await tab.write(content);
    await tab.page.locator(".message.mine.stored, .message.mine.read").filter({ hasText: content }).waitFor();
  }
  assert.equal(await tab.page.evaluate(() => document.querySelectorAll("script, img, iframe, a").length), before);
  assert.deepEqual(await tab.page.evaluate(() => window.violations), []);
  tab.assertClean();
});

test("the policy lets the page load and run its own files alone", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t, server);
  const page = await (await newContext(browser)).newPage();
  await page.goto(server.origin);
  const blocked = await page.evaluate(async () => {
    const violations = [];
    document.addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
    // In a turn of its own: the tools that evaluate this are themselves let through.
    const attempt = (act) => new Promise((tell) => setTimeout(() => {
      try {
        act();
        tell("ran");
      } catch (error) {
        tell(error.name);
      }
    }));
    const results = {
      markup: await attempt(() => (document.createElement("div").innerHTML = "<b>x</b>")),
      code: await attempt(() => window.eval("1")),
      foreign: await fetch("https://127.0.0.1:1/").catch((error) => error.name),
    };
    const inline = document.createElement("img");
    inline.src = "https://127.0.0.1:1/a.png";
    await new Promise((done) => (inline.onerror = done));
    return { results, violations };
  });
  assert.deepEqual(blocked.results, { markup: "TypeError", code: "EvalError", foreign: "TypeError" });
  assert.ok(blocked.violations.includes("img-src") && blocked.violations.includes("connect-src"), String(blocked.violations));
});
